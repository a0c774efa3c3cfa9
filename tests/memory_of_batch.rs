//! The memory of a conversion stays within the estimate of a batch, where tensors are made in memory as a whole. Alone in
//! its file, because the memory is that of the whole process.

#![cfg(target_os = "linux")]

use std::fs;
use std::num::NonZeroUsize;
use std::sync::Arc;

use electra_convert::batch::{
    Batch, BatchOptions, Decision, JobOptions, NameTemplate, Outcome, Settings, VocabularySource,
    find_jobs,
};
use electra_convert::{Model, TargetDtype};
use testkit::bundle_writer::{SMALL, Sizes, discriminator};
use testkit::v1_writer::Tables;
use testkit::{peak_during, temp};

/// The word embeddings have 64 MiB.
const SIZES: Sizes = Sizes {
    vocab: 1 << 17,
    embedding: 128,
    ..SMALL
};

#[test]
fn the_peak_of_a_v1_checkpoint_is_within_the_estimate() {
    let folder = temp();
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    let bytes = Tables::of(&discriminator(SIZES)).bytes();
    fs::write(run.join("model.ckpt-1"), bytes).unwrap();
    for dtype in [TargetDtype::Keep, TargetDtype::F16] {
        let mut settings = Settings::new(Model::Discriminator);
        settings.dtype = dtype;
        settings.vocabulary = VocabularySource::None;
        let options = JobOptions {
            steps: None,
            template: &NameTemplate::default(),
            settings: &Arc::new(settings),
        };
        let found = find_jobs(std::slice::from_ref(&run), options).unwrap();
        let mut options = BatchOptions::default();
        options.threads = NonZeroUsize::new(2);
        let out = folder.path().join(format!("{dtype:?}"));
        let planned = Batch::new(out, found.jobs, options)
            .unwrap()
            .plan(&())
            .unwrap();
        let [job] = planned.jobs() else {
            panic!("{:?}", planned.jobs());
        };
        let Decision::Convert(prepared) = &job.decision else {
            panic!("{:?}", job.decision);
        };
        let estimate = prepared.needs.memory >> 20;
        let peak = peak_during(|| {
            let result = planned.run(&(), &|_, _| ());
            let outcome = &result.jobs[0].outcome;
            assert!(matches!(outcome, Outcome::Converted { .. }), "{outcome:?}");
        });
        let peak = peak as u64 >> 20;
        println!("{dtype:?}: {peak} of {estimate} MiB");
        assert!(
            peak <= estimate && estimate <= 2 * peak,
            "{dtype:?}: {peak} of {estimate} MiB"
        );
    }
}
