//! `predict` on the command line.

use crate::harness::{Ran, Toy, golden, run};

fn asset(name: &str) -> String {
    let path = bertology_testkit::workspace().join("assets").join(name);
    path.to_str().unwrap().to_owned()
}

fn predict(model: &str, more: &[&str]) -> Ran {
    let mut all = vec!["predict", model];
    all.extend(more);
    run(&all)
}

fn column(table: &[Vec<String>], name: &str) -> usize {
    table[0].iter().position(|column| column == name).unwrap()
}

#[test]
fn texts_of_the_command_line_are_judged() {
    let model = asset("tiny-bert");
    let texts = ["The woman faints.", "The woman faint."];
    let ran = predict(&model, &texts).ok();
    let lines: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| line.contains("The woman"))
        .collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert!(
        lines[0].contains("LABEL_1") && lines[1].contains("LABEL_0"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("LABEL_0 1  LABEL_1 1") && ran.out.contains("2 texts"),
        "{}",
        ran.out
    );
    let found = predict(&model, &[&texts[..], &["--json"]].concat())
        .ok()
        .json();
    let first = &found["results"]["predictions"][0];
    assert_eq!(first["labels"][0], "LABEL_1");
    let p = first["probabilities"]["LABEL_1"].as_f64().unwrap();
    let logit = |name: &str| first["logits"][name].as_f64().unwrap();
    let expected = 1.0 / (1.0 + (logit("LABEL_0") - logit("LABEL_1")).exp());
    // Logits are written with the digits of f32.
    assert!((p - expected).abs() < 1e-7, "{p} {expected}");
    // Without a head that matters it says otherwise, or at least not the same.
    let masked = predict(
        &model,
        &[&texts[..], &["--heads", "0:0-3", "--json"]].concat(),
    );
    let masked = masked.ok().json();
    assert_ne!(
        masked["results"]["predictions"][0]["logits"],
        first["logits"]
    );
    assert_eq!(
        masked["results"]["masked_heads"].as_array().unwrap().len(),
        4
    );
}

/// `evaluate` scores the same texts by their labels.
#[test]
fn a_table_gets_the_logits_that_evaluate_has() {
    let toy = Toy::new();
    toy.run("evaluate", &["--output", "OUT/scored"]).ok();
    let (model, data) = (toy.text("model"), toy.text("data.tsv"));
    for (out, threads) in [("one", "1"), ("two", "2")] {
        let out = toy.text(out);
        let words = [
            "--data",
            &data,
            "--text-column",
            "text",
            "--threads",
            threads,
            "--output",
            &out,
        ];
        predict(&model, &words).ok();
    }
    assert_eq!(
        toy.bytes("one/predictions.csv"),
        toy.bytes("two/predictions.csv")
    );
    let (own, scored) = (
        toy.table("one/predictions.csv"),
        toy.table("scored/predictions.csv"),
    );
    assert_eq!(own[0][..5].join(","), "index,line,tokens,label,probability");
    assert_eq!(own.len(), scored.len());
    let label = column(&own, "label");
    for (own_row, row) in own[1..].iter().zip(&scored[1..]) {
        assert_eq!(own_row[..2], row[..2]);
        assert_eq!(own_row[label], row[column(&scored, "prediction")]);
        let mut sum = 0.0;
        for class in 0..3 {
            let logit = &own_row[column(&own, &format!("logit_LABEL_{class}"))];
            assert_eq!(logit, &row[column(&scored, &format!("logit_{class}"))]);
            let p: f64 = own_row[column(&own, &format!("p_LABEL_{class}"))]
                .parse()
                .unwrap();
            sum += p;
            let best: f64 = own_row[column(&own, "probability")].parse().unwrap();
            let given = own_row[label] == format!("LABEL_{class}");
            assert!(if given { best == p } else { best >= p });
        }
        assert!((sum - 1.0).abs() < 1e-12);
    }
    let page = String::from_utf8(toy.bytes("one/report.html")).unwrap();
    assert!(page.contains("What is predicted") && page.contains("First predictions"));
    // Parts are merged to the bytes of the whole.
    let parts = ["1/2", "2/2"].map(|part| {
        let out = toy.text(&part.replace('/', "-of-"));
        let words = [
            "--data",
            &data,
            "--text-column",
            "text",
            "--chunk",
            "16",
            "--part",
            part,
            "--output",
            &out,
        ];
        predict(&model, &words).ok();
        out
    });
    run(&[
        "merge",
        &parts[0],
        &parts[1],
        "--output",
        &toy.text("merged"),
    ])
    .ok();
    let words = [
        "--data",
        &data,
        "--text-column",
        "text",
        "--chunk",
        "16",
        "--output",
        &toy.text("whole"),
    ];
    predict(&model, &words).ok();
    assert_eq!(
        toy.bytes("merged/predictions.csv"),
        toy.bytes("whole/predictions.csv")
    );
    let of = |folder: &str| toy.record(folder)["results"].clone();
    assert_eq!(of("merged"), of("whole"));
}

#[test]
fn test_files_words_and_numbers_need_no_labels() {
    let toy = Toy::new();
    std::fs::create_dir(toy.path("MRPC")).unwrap();
    toy.write(
        "MRPC/test.tsv",
        "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tthe cat runs\tthe dog runs\n1\t3\t4\ta horse\tthe old horse\n",
    );
    let (model, glue) = (toy.text("model"), toy.text(""));
    let out = toy.text("mrpc");
    predict(
        &model,
        &[
            "--task", "mrpc", "--data", &glue, "--split", "test", "--output", &out,
        ],
    )
    .ok();
    let rows = toy.table("mrpc/predictions.csv");
    assert_eq!(
        (rows.len(), rows[1][1].as_str(), rows[2][1].as_str()),
        (3, "2", "3")
    );

    let tags = bertology_testkit::golden("studies/tags");
    let text = "maria was born in well-known paris";
    let ran = predict(
        tags.to_str().unwrap(),
        &[text, "--output", &toy.text("words")],
    )
    .ok();
    let rows = toy.table("words/predictions.csv");
    assert_eq!(
        rows[0][..8].join(","),
        "index,line,text,word,start,end,label,probability"
    );
    let spans: Vec<&str> = rows[1..]
        .iter()
        .map(|row| &text[row[4].parse().unwrap()..row[5].parse().unwrap()])
        .collect();
    assert_eq!(
        spans,
        ["maria", "was", "born", "in", "well", "-", "known", "paris"]
    );
    assert!(
        ran.out.lines().any(|line| line.ends_with("maria")),
        "{}",
        ran.out
    );
    assert!(
        String::from_utf8(toy.bytes("words/report.html"))
            .unwrap()
            .contains("words")
    );

    toy.write("ids.txt", "2 53 57 23 3\n2 54 59 3\n");
    let regression = golden("bert-regression");
    let words = [
        "--token-ids",
        &toy.text("ids.txt"),
        "--output",
        &toy.text("value"),
    ];
    predict(regression.to_str().unwrap(), &words).ok();
    let rows = toy.table("value/predictions.csv");
    assert_eq!(rows[0].join(","), "index,line,tokens,value");
    // transformers: golden/engine/bert-regression, ones.logits.
    for (row, expected) in rows[1..].iter().zip([0.630_110_74, 0.358_029_84]) {
        let value: f64 = row[3].parse().unwrap();
        assert!((value - expected).abs() < 1e-5, "{value}");
    }
}

#[test]
fn what_cannot_be_said_is_refused() {
    let toy = Toy::new();
    let (model, data) = (toy.text("model"), toy.text("data.tsv"));
    predict(&asset("tiny-gpt2"), &["x"])
        .failed(2, &["a causal-LM head", "bertology finetune", "view"]);
    let answers = bertology_testkit::golden("studies/answers");
    predict(answers.to_str().unwrap(), &["x"]).failed(2, &["question-answering", "--squad"]);
    predict(&model, &[]).failed(2, &["no texts given"]);
    predict(&model, &[&data]).failed(2, &["is a file"]);
    for more in [
        &["--label-column", "label"][..],
        &["--label-order", "a,b,c"],
    ] {
        let words = [&["--data", &data, "--text-column", "text"], more].concat();
        predict(&model, &words).failed(2, &[more[0], "evaluate"]);
    }
    predict(&model, &["the cat", "--too-long", "window"]).failed(2, &["one answer"]);
    predict(&model, &["the cat", "--stride", "3"]).failed(2, &["--stride"]);
    let long = "the cat ".repeat(200);
    let ran = predict(&model, &[&long, "--max-length", "9"]).ok();
    assert!(ran.out.contains("1 cut to 9 tokens"), "{}", ran.out);
    predict(&model, &[&long, "--max-length", "9", "--too-long", "error"])
        .failed(2, &["--max-length"]);
}
