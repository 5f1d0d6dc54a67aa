//! Every task's files, read by the column table of the specification.

use bertology_data::{Mode, ReadOptions, SkipReason, Source, Split, Task};

use crate::{Fixture, rows};

/// `c0 c1 ... c(n-1)` joined by tabs, so that a field tells its column.
fn line(columns: usize, last: &str) -> String {
    let mut fields: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
    if !last.is_empty() {
        fields.push(last.to_owned());
    }
    fields.join("\t")
}

#[test]
fn names_are_read_in_every_spelling() {
    for task in Task::ALL {
        for spelling in [
            task.name().to_owned(),
            task.name().to_uppercase(),
            task.to_string(),
        ] {
            assert_eq!(spelling.parse::<Task>().unwrap(), task);
        }
        let json = serde_json::to_string(&task).unwrap();
        assert_eq!(json, format!("\"{}\"", task.name()));
        if task != Task::MnliMismatched {
            assert_eq!(task.folder().parse::<Task>().unwrap(), task);
        }
    }
    for (spelling, task) in [
        ("sst2", Task::Sst2),
        ("SST_2", Task::Sst2),
        ("stsb", Task::StsB),
        ("mnli_mm", Task::MnliMismatched),
        ("MNLI-mismatched", Task::MnliMismatched),
    ] {
        assert_eq!(spelling.parse::<Task>().unwrap(), task);
    }
    assert_eq!("validation".parse::<Split>().unwrap(), Split::Dev);
}

#[test]
fn task_facts_are_the_references() {
    let table: [(&str, usize, &[&str], &str); 10] = [
        ("cola", 2, &["mcc"], "mcc"),
        ("mnli", 3, &["mnli/acc"], "mnli/acc"),
        ("mnli-mm", 3, &["mnli-mm/acc"], "mnli-mm/acc"),
        ("mrpc", 2, &["acc", "f1", "acc_and_f1"], "acc"),
        ("sst-2", 2, &["acc"], "acc"),
        ("sts-b", 1, &["pearson", "spearmanr", "corr"], "corr"),
        ("qqp", 2, &["acc", "f1", "acc_and_f1"], "acc"),
        ("qnli", 2, &["acc"], "acc"),
        ("rte", 2, &["acc"], "acc"),
        ("wnli", 2, &["acc"], "acc"),
    ];
    for (name, outputs, keys, default) in table {
        let task: Task = name.parse().unwrap();
        assert_eq!(task.num_labels(), outputs, "{name}");
        assert_eq!(task.metric_keys(), keys, "{name}");
        assert_eq!(task.default_metric(), default, "{name}");
        assert_eq!(task.mode() == Mode::Regression, name == "sts-b");
    }
    assert_eq!(
        Task::Mnli.labels(),
        ["contradiction", "entailment", "neutral"]
    );
    assert_eq!(Task::Qnli.labels(), ["entailment", "not_entailment"]);
    assert_eq!(Task::Rte.labels(), ["entailment", "not_entailment"]);
    assert_eq!(Task::Cola.labels(), ["0", "1"]);
}

/// Task, split, file, columns before the label, label (empty: none or inside), expected texts.
type Case = (
    Task,
    Split,
    &'static str,
    usize,
    &'static str,
    &'static str,
    &'static str,
);

#[test]
fn columns_of_every_task_and_split() {
    use Split::{Dev, Test, Train};
    use Task::{Mnli, MnliMismatched, Qnli, Rte, StsB, Wnli};
    let mut cases: Vec<Case> = vec![
        (StsB, Train, "train.tsv", 9, "3.25", "c7", "c8"),
        (StsB, Dev, "dev.tsv", 9, "3.25", "c7", "c8"),
        (StsB, Test, "test.tsv", 9, "", "c7", "c8"),
        // Five annotators' labels come before the gold label in MNLI's dev files, one in train.
        (Mnli, Train, "train.tsv", 11, "neutral", "c8", "c9"),
        (Mnli, Dev, "dev_matched.tsv", 15, "neutral", "c8", "c9"),
        (Mnli, Test, "test_matched.tsv", 10, "", "c8", "c9"),
        (
            MnliMismatched,
            Train,
            "train.tsv",
            11,
            "neutral",
            "c8",
            "c9",
        ),
        (
            MnliMismatched,
            Dev,
            "dev_mismatched.tsv",
            15,
            "neutral",
            "c8",
            "c9",
        ),
        (
            MnliMismatched,
            Test,
            "test_mismatched.tsv",
            10,
            "",
            "c8",
            "c9",
        ),
        (Task::Qqp, Train, "train.tsv", 5, "1", "c3", "c4"),
        (Task::Qqp, Dev, "dev.tsv", 5, "1", "c3", "c4"),
        (Task::Qqp, Test, "test.tsv", 3, "", "c1", "c2"),
        (Task::Mrpc, Test, "test.tsv", 5, "", "c3", "c4"),
        (Task::Sst2, Train, "train.tsv", 1, "1", "c0", ""),
        (Task::Sst2, Dev, "dev.tsv", 1, "1", "c0", ""),
        (Task::Sst2, Test, "test.tsv", 2, "", "c1", ""),
        (Task::Cola, Test, "test.tsv", 2, "", "c1", ""),
    ];
    for task in [Qnli, Rte, Wnli] {
        let label = if task == Wnli { "1" } else { "not_entailment" };
        cases.push((task, Train, "train.tsv", 3, label, "c1", "c2"));
        cases.push((task, Dev, "dev.tsv", 3, label, "c1", "c2"));
        cases.push((task, Test, "test.tsv", 3, "", "c1", "c2"));
    }
    for (task, split, file, columns, label, text, pair) in cases {
        let header = line(columns, if label.is_empty() { "" } else { "label" });
        let header = header.replace('c', "h");
        let content = format!("{header}\n{}\n", line(columns, label));
        let below = format!("{}/{file}", task.folder());
        for name in [file, below.as_str()] {
            let data = Fixture::new(name, &content).glue(task, split).unwrap();
            assert_eq!(
                rows(&data),
                [(text, pair, label, 2)],
                "{task} {split} {name}"
            );
            assert_eq!((data.info.task, data.info.split), (Some(task), Some(split)));
        }
    }
}

#[test]
fn cola_has_no_header_and_its_label_in_column_1() {
    let content =
        "gj04\t1\t\tThe sailors rode the breeze clear of the rocks.\nks08\t0\t*\tThem left.\n";
    let data = Fixture::new("CoLA/dev.tsv", content)
        .glue(Task::Cola, Split::Dev)
        .unwrap();
    let expected = [
        (
            "The sailors rode the breeze clear of the rocks.",
            "",
            "1",
            1,
        ),
        ("Them left.", "", "0", 2),
    ];
    assert_eq!(rows(&data), expected);
}

#[test]
fn mrpc_with_byte_order_mark_quotes_and_crlf() {
    let content = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n\
                   1\t10\t20\t\"He said \"no\".\tHe said \"no\"\r\n\
                   0\t11\t21\t  Spaces stay , \tan odd \" quote";
    let data = Fixture::new("dev.tsv", content)
        .glue(Task::Mrpc, Split::Dev)
        .unwrap();
    let expected = [
        ("\"He said \"no\".", "He said \"no\"", "1", 2),
        ("  Spaces stay , ", "an odd \" quote", "0", 3),
    ];
    assert_eq!(rows(&data), expected);
    assert_eq!(data.info.bytes, content.len() as u64);
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_first_field() {
    let data = Fixture::new("dev.tsv", "\u{feff}gj04\t1\t\tIt is.\n")
        .glue(Task::Cola, Split::Dev)
        .unwrap();
    assert_eq!(rows(&data), [("It is.", "", "1", 1)]);
    let fixture = Fixture::new("a.tsv", "\u{feff}text\nIt is.\n");
    let data = fixture
        .table(bertology_data::Columns::text("text"))
        .unwrap();
    assert_eq!(rows(&data), [("It is.", "", "", 2)]);
}

#[test]
fn the_original_mrpc_files_are_a_fallback() {
    let content = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t1\t2\tA b.\tC d.\r\n";
    let fixture = Fixture::new("MRPC/msr_paraphrase_train.txt", content);
    fixture.add("MRPC/msr_paraphrase_test.txt", content);
    for split in [Split::Train, Split::Test] {
        let data = fixture.glue(Task::Mrpc, split).unwrap();
        assert_eq!(rows(&data), [("A b.", "C d.", "1", 2)], "{split}");
    }
    // The corpus has no dev set; its test set must not be passed off as one.
    let error = fixture
        .glue(Task::Mrpc, Split::Dev)
        .unwrap_err()
        .to_string();
    assert!(error.contains("take the test split"), "{error}");
    // GLUE's own file comes first.
    fixture.add("MRPC/train.tsv", "q\ta\tb\tc\td\n0\t1\t2\tE f.\tG h.\n");
    let data = fixture.glue(Task::Mrpc, Split::Train).unwrap();
    assert_eq!(rows(&data), [("E f.", "G h.", "0", 2)]);
}

#[test]
fn short_qqp_rows_are_skipped_and_reported() {
    let content = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n\
                   1\t2\t3\tbroken in the\n\
                   middle?\n\
                   \n\
                   4\t5\t6\tWho?\t\t0\n";
    let data = Fixture::new("train.tsv", content)
        .glue(Task::Qqp, Split::Train)
        .unwrap();
    assert_eq!(rows(&data), [("Who?", "", "0", 5)]);
    let skipped = &data.info.skipped;
    assert_eq!(
        (skipped.short_rows, skipped.blank_lines, skipped.total()),
        (2, 1, 3)
    );
    assert_eq!(skipped.first[0].line, 2);
    assert_eq!(
        skipped.first[0].reason,
        SkipReason::ShortRow {
            found: 4,
            expected: 6
        }
    );
    assert_eq!(skipped.first[2].reason, SkipReason::BlankLine);
    // No other task skips them.
    let error = Fixture::new("train.tsv", "a\tb\tc\td\n1\tx\n").glue(Task::Rte, Split::Train);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("line 2: 2 columns, expected 4")
    );
}

#[test]
fn only_the_first_skipped_rows_are_remembered() {
    let content = format!("h\tlabel\n{}a\t1\n", "\n".repeat(1000));
    let data = Fixture::new("dev.tsv", content)
        .glue(Task::Sst2, Split::Dev)
        .unwrap();
    assert_eq!(data.info.skipped.blank_lines, 1000);
    assert_eq!(data.info.skipped.first.len(), 20);
    assert_eq!(data.examples[0].line, 1002);
}

#[test]
fn reading_in_a_stream_with_a_limit_hashes_the_whole_file() {
    let mut content = "sentence\tlabel\n".to_owned();
    for number in 0..5000 {
        content.push_str(&format!("text number {number} \t{}\n", number % 2));
    }
    let fixture = Fixture::new("SST-2/train.tsv", &content);
    let source = Source::glue(fixture.folder(), Task::Sst2, Split::Train).unwrap();
    assert!(source.has_labels());
    let all = source.load().unwrap();
    assert_eq!(all.len(), 5000);
    let first = source.clone().with_limit(Some(3)).load().unwrap();
    assert_eq!(first.examples, all.examples[..3]);
    assert_eq!((first.info.examples, first.info.limit), (3, Some(3)));
    assert_eq!(first.info.sha256, all.info.sha256);
    assert_eq!(first.info.bytes, content.len() as u64);

    let mut reader = source.with_limit(Some(10_000)).open().unwrap();
    let streamed: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(streamed, all.examples);
    assert_eq!(reader.bytes_read(), content.len() as u64);
    assert!(reader.next().is_none());
    assert_eq!(reader.finish().unwrap().sha256, all.info.sha256);
}

#[test]
fn the_hash_is_sha256_of_the_bytes() {
    // printf 'sentence\tlabel\ngood\t1\n' | sha256sum
    let data = Fixture::new("dev.tsv", "sentence\tlabel\ngood\t1\n")
        .glue(Task::Sst2, Split::Dev)
        .unwrap();
    assert_eq!(
        data.info.sha256,
        "1bc54e7f231278b9dab7bf9a7e5c549e95457729671567f3e0a0ea866920769c"
    );
    let json = serde_json::to_value(&data.info).unwrap();
    assert_eq!(json["task"], "sst-2");
    assert_eq!(json["split"], "dev");
    assert_eq!(json["examples"], 1);
}

#[test]
fn the_line_limit_can_be_raised() {
    let text = "x".repeat(2 << 20);
    let fixture = Fixture::new("dev.tsv", format!("sentence\tlabel\n{text}\t1\n"));
    let source = Source::glue(fixture.folder(), Task::Sst2, Split::Dev).unwrap();
    let options = ReadOptions {
        max_line_bytes: text.len() + 2,
        ..ReadOptions::default()
    };
    assert_eq!(
        source.with_options(options).load().unwrap().examples[0].text,
        text
    );
}
