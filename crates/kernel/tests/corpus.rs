//! What the fuzzer has come across, again: no fuzzer needed. `npm run search -- kernel` adds to it.

mod common;

#[test]
fn every_job_of_the_corpus_keeps_its_promises() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/job");
    let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 100, "only {} files in the corpus", files.len());
    for file in files {
        let name = file.display().to_string();
        let bytes = std::fs::read(file).unwrap();
        let checked = std::panic::catch_unwind(|| common::bytes::check(&bytes));
        assert!(checked.is_ok(), "{name}");
    }
}
