//! The graphs in a `saved_model.pb`.
//!
//! A `SavedModel` holds a list of `MetaGraphDef`s, each with tags that state its purpose. TensorFlow 2 and
//! `simple_save` of TensorFlow 1 write one, with the tag `serve`; the export of a TPU estimator adds one with
//! the tags `serve` and `tpu`, and a builder can add others, such as `train`. All of them share the variables.
//! Source: `saved_model.proto`, `meta_graph.proto` and `tag_constants.py` in TensorFlow.

use std::ops::Range;

use super::proto::{INFO_TAG, META_GRAPH_INFO, SAVED_MODEL_META_GRAPH};
use crate::protobuf::wire::{Malformed, messages};

/// The tag of the graph for serving.
const SERVE: &str = "serve";
/// The most graphs of one file. TensorFlow's exports have one or two.
const MAX_GRAPHS: usize = 64;
/// The most tags of one graph.
const MAX_TAGS: usize = 16;

/// Returns the range of the `MetaGraphDef` for serving: the one whose only tag is `serve`, else the only one
/// with this tag, else the only one. The error completes a sentence about the file.
pub(super) fn meta_graph(bytes: &[u8]) -> Result<Range<usize>, String> {
    let graphs = graphs(bytes)?;
    let only = |is_meant: &dyn Fn(&[&str]) -> bool| {
        let mut meant = graphs.iter().filter(|(_, tags)| is_meant(tags));
        let first = meant.next()?;
        meant.next().is_none().then(|| first.0.clone())
    };
    only(&|tags| tags == [SERVE])
        .or_else(|| only(&|tags| tags.contains(&SERVE)))
        .or_else(|| only(&|_| true))
        .ok_or_else(|| match &graphs[..] {
            [] => "there is no graph in it; copy its directory again".to_owned(),
            several => {
                let tags: Vec<String> = several.iter().map(|(_, tags)| tags.join("+")).collect();
                format!(
                    "it holds {} graphs (tags {}), of which not exactly one is tagged {SERVE}",
                    several.len(),
                    tags.join(", ")
                )
            }
        })
}

/// A graph by its range, with its tags.
type Tagged<'a> = (Range<usize>, Vec<&'a str>);

/// Returns every graph. The error completes a sentence about the file.
fn graphs(bytes: &[u8]) -> Result<Vec<Tagged<'_>>, String> {
    let malformed =
        |error: Malformed| format!("it is not a SavedModel: {error}; copy its directory again");
    let mut found = Vec::new();
    for message in messages(bytes, 0..bytes.len(), SAVED_MODEL_META_GRAPH) {
        let message = message.map_err(malformed)?;
        if found.len() == MAX_GRAPHS {
            return Err(format!("it holds more than {MAX_GRAPHS} graphs"));
        }
        let mut tags = Vec::new();
        for info in messages(bytes, message.clone(), META_GRAPH_INFO) {
            for tag in messages(bytes, info.map_err(malformed)?, INFO_TAG) {
                if tags.len() == MAX_TAGS {
                    return Err(format!("a graph in it has more than {MAX_TAGS} tags"));
                }
                let tag = std::str::from_utf8(&bytes[tag.map_err(malformed)?]);
                tags.push(tag.map_err(|_| malformed(Malformed::NotText))?);
            }
        }
        found.push((message, tags));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    }

    /// A SavedModel of graphs with these tags.
    fn saved_model(graphs: &[&[&str]]) -> Vec<u8> {
        let mut bytes = vec![8, 1];
        for tags in graphs {
            let tags: Vec<u8> = tags
                .iter()
                .flat_map(|tag| field(4, tag.as_bytes()))
                .collect();
            bytes.extend(field(2, &field(1, &tags)));
        }
        bytes
    }

    #[test]
    fn the_graph_for_serving_is_taken() {
        for (graphs, meant) in [
            (&[&["serve"][..]][..], Some(0)),
            (&[&["train"]], Some(0)),
            (&[&[]], Some(0)),
            (&[&["train"], &["serve"]], Some(1)),
            (&[&["serve", "tpu"], &["serve"]], Some(1)),
            (&[&["train"], &["serve", "gpu"]], Some(1)),
            (&[&["train"], &["eval"]], None),
            (&[&["serve", "gpu"], &["serve", "tpu"]], None),
            (&[&["serve"], &["serve"]], None),
            (&[], None),
        ] {
            let bytes = saved_model(graphs);
            let all: Vec<_> = messages(&bytes, 0..bytes.len(), 2).flatten().collect();
            let found = meta_graph(&bytes);
            match meant {
                Some(meant) => assert_eq!(found.as_ref(), Ok(&all[meant]), "{graphs:?}"),
                None => assert!(found.is_err(), "{graphs:?}"),
            }
        }
        let error = meta_graph(&saved_model(&[
            &["train"],
            &["serve", "gpu"],
            &["serve"],
            &["serve"],
        ]));
        let error = error.unwrap_err();
        assert!(
            error.contains("(tags train, serve+gpu, serve, serve)"),
            "{error}"
        );
    }

    #[test]
    fn malformed_files_are_errors() {
        let sound = saved_model(&[&["serve"]]);
        for len in 1..sound.len() {
            let error = meta_graph(&sound[..len]).unwrap_err();
            let expected = if len == 2 {
                "no graph"
            } else {
                "not a SavedModel"
            };
            assert!(error.contains(expected), "{len}: {error}");
        }
        let many = saved_model(&vec![&["a"][..]; MAX_GRAPHS + 1]);
        assert!(meta_graph(&many).unwrap_err().contains("more than 64"));
        let tags = saved_model(&[&["a"; MAX_TAGS + 1]]);
        assert!(meta_graph(&tags).unwrap_err().contains("more than 16"));
        let mut text = saved_model(&[&["serve"]]);
        *text.last_mut().unwrap() = 0xff;
        assert!(meta_graph(&text).unwrap_err().contains("UTF-8"));
    }
}
