//! Converts the object paths of TensorFlow's Model Garden (`official/nlp`) to the names of the original code.
//!
//! Full names are of no use here: those of generator and discriminator are equal, because the layers of a
//! functional Keras model do not have the name of the model in theirs. The paths ([`super::names`] has them)
//! depend on how a checkpoint was saved:
//!
//! | saved | discriminator | generator | heads |
//! |---|---|---|---|
//! | `Trainer`: the model, and `checkpoint_items` | `encoder/` | `model/generator_network/` | `model/` |
//! | `tf.train.Checkpoint(model=…)` | `model/discriminator_network/` | `model/generator_network/` | `model/` |
//! | `save_weights` | `discriminator_network/` | `generator_network/` | none |
//! | an encoder alone | any | | |
//! | fine-tuned, by `Trainer` | `encoder/` | | `model/layer_with_weights-1/` |
//! | fine-tuned, `tf.train.Checkpoint(model=…)` | `model/layer_with_weights-0/` | | `model/layer_with_weights-1/` |
//!
//! A variable that two objects share has one key, the first of the shortest paths. The word embeddings are
//! shared by the generator and its head, and with `tie_embeddings` by the discriminator too. So a checkpoint
//! has two such variables if the embeddings are not tied, and one if they are, in any of three places.
//!
//! In a SavedModel the key of a variable is a place in a list (`variables/7`), and `tf_checkpoint` has the paths instead:
//! that of a checkpoint of the same objects first. If no part of a model has this path, for example because the
//! exported object holds the variable as an attribute, the only other path that a part of a model has decides.

use std::collections::{BTreeMap, BTreeSet};

use crate::variables::Error;
use crate::variables::entry::InventoryEntry;
use crate::variables::names::{
    ELECTRA, GENERATOR, GardenHead, GardenLayer, GardenPath, Scopes, TABLE,
};
use crate::variables::role::Role;
use crate::variables::state::SLOT;

/// Attributes and keywords that name a model.
const DISCRIMINATORS: &[&str] = &["discriminator_network", "discriminator"];
const GENERATORS: &[&str] = &["generator_network", "generator"];
/// The keyword of `Trainer` for the encoder that fine-tuning starts from. Of several encoders that are no
/// pair it is the one to export: `--rename` can give it this path.
const ENCODER: &str = "encoder";

/// What was found in the paths.
#[derive(Default)]
pub(crate) struct Garden {
    /// The paths of the encoders that were recognised.
    pub(crate) encoders: Vec<String>,
    /// True if generator and discriminator share the word embeddings alone.
    pub(crate) shares_words: bool,
}

/// A variable of an encoder: its place among the entries, its layer, its path inside the layer.
type Member<'a> = (usize, GardenLayer, &'a str);

/// A variable with its name in the original code, and the axis that is divided into heads.
type Renamed = BTreeMap<usize, (String, Option<usize>)>;

/// Renames the variables of Model Garden's encoders and pre-training heads to the names of the original code.
/// Returns `None`, and changes nothing, if there is no such encoder.
/// `rename` applies `--rename` to a path.
pub(crate) fn rename(
    entries: &mut [InventoryEntry],
    rename: impl Fn(&str) -> String,
) -> Result<Option<Garden>, Error> {
    let path = |entry: &InventoryEntry| path(entry, &rename);
    let paths = entries.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    let encoders = encoders(&paths);
    if encoders.is_empty() {
        return Ok(None);
    }
    for members in encoders.values() {
        check_blocks(members, entries)?;
    }
    let heads: Vec<(usize, GardenHead)> = numbered(&paths)
        .filter_map(|(at, path)| {
            let full_name = entries[at].variable.full_name.as_deref();
            Some((at, GardenHead::parse(path, full_name)?))
        })
        .collect();
    let places = places(&encoders, &heads, entries)?;

    let mut renamed = Renamed::new();
    let mut roles: BTreeMap<usize, Role> = BTreeMap::new();
    let mut words = Words::default();
    for (scope, scopes) in &places {
        for &(at, layer, inner) in &encoders[scope] {
            if layer == GardenLayer::Pooler {
                roles.insert(at, Role::Pooler);
            } else if let Some(found) = layer.variable(inner) {
                if found.rule.is_word_embeddings() {
                    words.of(*scopes).get_or_insert(at);
                }
                let name = found.rule.variable(*scopes, layer.block().unwrap_or(0));
                renamed.insert(at, (name, found.head_axis));
            }
        }
    }
    for (at, head) in &heads {
        match head {
            GardenHead::Known(rule) => {
                renamed.insert(*at, (rule.head_variable(), None));
            }
            GardenHead::Sentence => {
                roles.insert(*at, Role::SentenceHead);
            }
            GardenHead::Words => words.table = Some(*at),
        }
    }
    let has = |scopes: Scopes| places.values().any(|place| *place == scopes);
    let shares_words = words.assign(has(ELECTRA), has(GENERATOR), &mut renamed);
    let distinct: BTreeSet<&String> = renamed.values().map(|(name, _)| name).collect();
    if distinct.len() < renamed.len() {
        return Err(several(&encoders));
    }
    let found = places.keys().map(|scope| (*scope).to_owned()).collect();
    for (at, (name, head_axis)) in renamed {
        entries[at].name = name;
        entries[at].head_axis = head_axis;
    }
    for (at, role) in roles {
        entries[at].role = role;
    }
    Ok(Some(Garden {
        encoders: found,
        shares_words,
    }))
}

/// Returns the object path of a weight, or what `--rename` made of its name or of its path: variables with a
/// full name of their own have it for a name.
fn path(entry: &InventoryEntry, rename: impl Fn(&str) -> String) -> Result<Option<String>, Error> {
    if entry.role != Role::Unknown {
        return Ok(None);
    }
    let path = entry.variable.object_path();
    if entry.average_of.is_some() {
        // The path of an average is that of the weight and its place in the optimizer.
        let weight = path.and_then(|path| path.split_once(SLOT));
        return Ok(weight.map(|(weight, _)| rename(weight)));
    }
    let Some(path) = path.filter(|_| entry.name == entry.variable.name) else {
        return Ok(Some(entry.name.clone()));
    };
    let path = rename(path);
    let full_name = entry.variable.full_name.as_deref();
    let is_known = |path: &String| {
        GardenPath::parse(path).is_some() || GardenHead::parse(path, full_name).is_some()
    };
    if is_known(&path) {
        return Ok(Some(path));
    }
    let others = entry.variable.object_paths.iter().skip(1);
    let mut others: Vec<String> = others.map(|path| rename(path)).filter(is_known).collect();
    others.sort_unstable();
    others.dedup();
    match others.len() {
        0 => Ok(Some(path)),
        1 => Ok(others.pop()),
        _ => Err(Error::SeveralPaths {
            variable: entry.name.clone(),
            paths: others,
        }),
    }
}

fn numbered(paths: &[Option<String>]) -> impl Iterator<Item = (usize, &str)> {
    let paths = paths.iter().enumerate();
    paths.filter_map(|(at, path)| Some((at, path.as_deref()?)))
}

/// Finds the encoders: the models that have a block. Numbers are replaced by places.
fn encoders(paths: &[Option<String>]) -> BTreeMap<&str, Vec<Member<'_>>> {
    let mut found: BTreeMap<&str, Vec<(usize, GardenPath<'_>)>> = BTreeMap::new();
    for (at, path) in numbered(paths) {
        if let Some(path) = GardenPath::parse(path) {
            found.entry(path.scope).or_default().push((at, path));
        }
    }
    found.retain(|_, members| members.iter().any(|(_, path)| path.is_of_block()));
    let placed = found
        .into_iter()
        .map(|(scope, members)| (scope, place_layers(&members)));
    placed.collect()
}

/// Replaces the numbers of layers by their places.
fn place_layers<'a>(members: &[(usize, GardenPath<'a>)]) -> Vec<Member<'a>> {
    let with_number = |path: &GardenPath<'_>| match path.layer {
        GardenLayer::Numbered(number) => Some(number),
        _ => None,
    };
    let paths = || members.iter().map(|(_, path)| path);
    let is_block = |path: &&GardenPath<'_>| path.is_of_block();
    let has_projection = !paths()
        .filter(is_block)
        .filter_map(with_number)
        .any(GardenLayer::may_be_projection);
    // The pooler is the layer behind the last block.
    let last = paths().filter(is_block).filter_map(with_number).max();
    let place = |path: &GardenPath<'a>| {
        let number = with_number(path)?;
        let is_behind = last.is_some_and(|last| number == last.saturating_add(1));
        Some(if is_behind && path.is_dense() {
            GardenLayer::Pooler
        } else {
            GardenLayer::numbered(number, has_projection)
        })
    };
    let members = members.iter();
    members
        .map(|(at, path)| (*at, place(path).unwrap_or(path.layer), path.inner))
        .collect()
}

/// Compares the numbers of blocks with the full names, which number the blocks too. The block that an ALBERT
/// uses for all its layers has no number.
fn check_blocks(members: &[Member<'_>], entries: &[InventoryEntry]) -> Result<(), Error> {
    for &(at, layer, _) in members {
        let variable = &entries[at].variable;
        let (Some(block), Some(full_name)) = (layer.block(), &variable.full_name) else {
            continue;
        };
        let expected = format!("layer_{block}");
        if !full_name.split('/').any(|part| part == expected) {
            return Err(Error::OtherEncoder {
                variable: variable.object_path().unwrap_or(&variable.key).to_owned(),
                full_name: full_name.clone(),
                expected: format!("transformer/{expected}"),
            });
        }
    }
    Ok(())
}

/// Assigns each encoder the scopes of the original code. A single encoder is the discriminator's, unless its
/// path is a generator's; of two, one must have the path of a generator or of a discriminator. In all other
/// cases the encoder with the path [`ENCODER`] is taken.
fn places<'a>(
    encoders: &BTreeMap<&'a str, Vec<Member<'_>>>,
    heads: &[(usize, GardenHead)],
    entries: &[InventoryEntry],
) -> Result<BTreeMap<&'a str, Scopes>, Error> {
    let scopes: Vec<&str> = encoders.keys().copied().collect();
    let named = |scope: &str| {
        let last = scope.rsplit('/').next().unwrap_or(scope);
        if GENERATORS.contains(&last) {
            Some(GENERATOR)
        } else {
            DISCRIMINATORS.contains(&last).then_some(ELECTRA)
        }
    };
    let other = |scopes: Scopes| {
        if scopes == ELECTRA {
            GENERATOR
        } else {
            ELECTRA
        }
    };
    let places: BTreeMap<&str, Scopes> = match scopes[..] {
        [one] => BTreeMap::from([(one, named(one).unwrap_or(ELECTRA))]),
        [a, b] => match (named(a), named(b)) {
            (Some(x), Some(y)) if x == y => BTreeMap::new(),
            (None, None) => BTreeMap::new(),
            (Some(x), _) => BTreeMap::from([(a, x), (b, other(x))]),
            (None, Some(y)) => BTreeMap::from([(a, other(y)), (b, y)]),
        },
        _ => BTreeMap::new(),
    };
    let is_named = scopes.iter().any(|scope| named(scope).is_some());
    check_pre_training(heads, entries, is_named)?;
    if !places.is_empty() {
        return Ok(places);
    }
    match encoders.get_key_value(ENCODER) {
        Some((scope, _)) => Ok(BTreeMap::from([(*scope, ELECTRA)])),
        None => Err(several(encoders)),
    }
}

/// Refuses a BERT: its masked language model has the same head as ELECTRA's generator, but no discriminator.
fn check_pre_training(
    heads: &[(usize, GardenHead)],
    entries: &[InventoryEntry],
    is_named: bool,
) -> Result<(), Error> {
    let rules = || {
        heads.iter().filter_map(|(at, head)| match head {
            GardenHead::Known(rule) => Some((*at, Role::of(&rule.head_variable()))),
            _ => None,
        })
    };
    let has = |role| rules().any(|(_, found)| found == role);
    if is_named || has(Role::DiscriminatorHead) || !has(Role::GeneratorHead) {
        return Ok(());
    }
    Err(Error::OtherArchitecture {
        architecture: "BERT",
        names: rules().map(|(at, _)| entries[at].name.clone()).collect(),
        script: "convert_bert_original_tf2_checkpoint_to_pytorch.py",
    })
}

fn several(encoders: &BTreeMap<&str, Vec<Member<'_>>>) -> Error {
    Error::SeveralEncoders {
        scopes: encoders.keys().map(|scope| (*scope).to_owned()).collect(),
        replacement: "encoder/",
    }
}

/// Returns the error for an encoder whose variables have no paths: a SavedModel of a module that holds a list of
/// variables (`variables/7`), and not the layers. The full names, which are not unique if there is a generator, show
/// the code.
pub(super) fn numbered_variables(entries: &[InventoryEntry]) -> Option<Error> {
    const QUERY: &str = "transformer/layer_0/self_attention/query/kernel";
    entries.iter().find_map(|entry| {
        let variable = &entry.variable;
        let number = variable.object_path()?.rsplit('/').next()?;
        let is_numbered = number.bytes().all(|byte| byte.is_ascii_digit());
        let full_name = variable.full_name.as_deref()?;
        (is_numbered && full_name.ends_with(QUERY)).then(|| Error::NumberedVariables {
            variable: variable.key.clone(),
            full_name: full_name.to_owned(),
        })
    })
}

/// The variables with word embeddings, by their places among the entries.
#[derive(Default)]
struct Words {
    /// In the discriminator.
    electra: Option<usize>,
    /// In the generator.
    generator: Option<usize>,
    /// In the head of the generator.
    table: Option<usize>,
}

impl Words {
    fn of(&mut self, scopes: Scopes) -> &mut Option<usize> {
        if scopes == ELECTRA {
            &mut self.electra
        } else {
            &mut self.generator
        }
    }

    /// Names the variables for the models that exist. Returns true if both models share one variable.
    fn assign(&self, has_electra: bool, has_generator: bool, renamed: &mut Renamed) -> bool {
        let rule = TABLE.iter().find(|rule| rule.is_word_embeddings());
        let rule = rule.expect("the table has the word embeddings");
        let mut set = |at: usize, scopes| {
            renamed.insert(at, (rule.variable(scopes, 0), None));
        };
        match (self.electra, self.generator, self.table) {
            (None, None, Some(one)) | (None, Some(one), None) | (Some(one), None, None)
                if has_electra =>
            {
                set(one, ELECTRA);
                return has_generator;
            }
            // The head's are the generator's.
            (_, None, Some(table)) => set(table, GENERATOR),
            // Three variables, or two of the generator, are not Model Garden's: the head's stays unknown.
            _ => {}
        }
        false
    }
}
