//! `bertology view`: one file, or a sentence why not. What the page shows is tested in a browser
//! (`web/tests`).

use std::fs;

use serde_json::Value;

use crate::harness::{HEADS, LAYERS, Ran, Toy, command, run};

fn view(toy: &Toy, more: &[&str]) -> Ran {
    let mut all = vec!["view".to_owned(), toy.text("model")];
    all.extend(more.iter().map(|word| word.replace("OUT", &toy.text(""))));
    run(&all)
}

/// The document in a page.
fn document(html: &str) -> Value {
    let json = html.split("id=\"data\">").nth(1).unwrap();
    serde_json::from_str(json.split("</script>").next().unwrap()).unwrap()
}

#[test]
fn a_text_becomes_one_file() {
    let toy = Toy::new();
    let texts = ["the cat sees a dog", "the horse runs"];
    let ran = view(
        &toy,
        &[texts[0], texts[1], "--output", "OUT/a.html", "--json"],
    )
    .ok();
    let html = String::from_utf8(toy.bytes("a.html")).unwrap();
    assert_eq!(ran.json()["bytes"], html.len());
    let page = document(&html);
    assert_eq!(page["texts"].as_array().unwrap().len(), 1);
    let text = &page["texts"][0];
    assert_eq!(text["texts"], serde_json::json!(texts));
    assert_eq!(
        (&ran.json()["texts"], &ran.json()["tokens"]),
        (&1.into(), &11.into())
    );
    assert_eq!(page["layers"].as_array().unwrap().len(), LAYERS);
    assert_eq!(page["layers"][0]["heads"].as_array().unwrap().len(), HEADS);
    // [CLS] five words [SEP] three words [SEP]
    let tokens = text["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 11);
    let of = |field: &str| -> Vec<&Value> { tokens.iter().map(|token| &token[field]).collect() };
    assert_eq!(of("sequence"), [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(of("text")[2], "cat");
    let prediction = &text["predictions"][0];
    assert_eq!(
        prediction["heads"].as_array().unwrap().len(),
        LAYERS * HEADS
    );
    assert!(text["maps"]["largestError"].as_f64().unwrap() < 1.0 / 510.0);
    for outside in ["http:", "https:"] {
        let text = html.replace("http://www.w3.org/", "");
        assert!(!text.contains(outside), "{outside}");
    }
    // The same bytes again, and on one thread.
    let more = [
        texts[0],
        texts[1],
        "--output",
        "OUT/b.html",
        "--threads",
        "1",
    ];
    view(&toy, &more).ok();
    assert_eq!(toy.bytes("b.html"), html.as_bytes());
}

#[test]
fn layers_heads_and_sizes_are_chosen() {
    let toy = Toy::new();
    let chosen = ["the cat runs", "--layers", "2", "--heads", "0.1"];
    let out = [
        "--output",
        "OUT/a.html",
        "--no-masking",
        "--neuron-layers",
        "2",
    ];
    view(&toy, &[&chosen[..], &out[..]].concat()).ok();
    let page = document(&String::from_utf8(toy.bytes("a.html")).unwrap());
    let heads = |at: usize| page["layers"][at]["heads"].as_array().unwrap().len();
    assert_eq!((heads(0), heads(1)), (1, HEADS));
    assert_eq!(page["texts"][0]["vectors"], serde_json::json!([2]));
    assert_eq!(page["texts"][0]["predictions"], serde_json::json!([]));
    // The head that it opens with is one that is shown.
    let start = (&page["start"]["layer"], &page["start"]["head"]);
    assert!(start == (&0.into(), &1.into()) || start.0 == 2, "{start:?}");
}

#[test]
fn what_cannot_be_shown_is_a_sentence() {
    let toy = Toy::new();
    toy.write("there.html", "mine");
    let out = ["--output", "OUT/a.html"];
    let refused = |more: &[&str], code: i32, parts: &[&str]| {
        view(&toy, &[more, &out[..]].concat()).failed(code, parts);
        assert!(!toy.path("a.html").exists());
    };
    refused(&[], 2, &["no text given"]);
    refused(&["the cat", "--heads", "9.0"], 2, &["9"]);
    refused(&["the cat", "--layers", "x"], 2, &["x"]);
    refused(
        &["the cat", "--layers", "1", "--neuron-layers", "2"],
        2,
        &["layer 2"],
    );
    refused(
        &["the cat", "--importance", "OUT/none"],
        2,
        &["head_importance.npy"],
    );
    let long = "the cat ".repeat(400);
    refused(&[&long], 2, &["--max-length"]);
    view(&toy, &["the cat", "--output", "OUT/there.html"]).failed(2, &["--overwrite"]);
    assert_eq!(toy.bytes("there.html"), b"mine");
    view(
        &toy,
        &["the cat", "--output", "OUT/there.html", "--overwrite"],
    )
    .ok();
    view(&toy, &["the cat", "--output", "OUT"]).failed(2, &["folder"]);
    view(&toy, &["the cat", "--output", "OUT/no/a.html"]).failed(2, &["no folder"]);
}

#[test]
fn importance_of_a_run_is_shown() {
    let toy = Toy::new();
    let mut npy = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({LAYERS}, {HEADS}), }}");
    header = format!("{header:<117}\n");
    npy.extend_from_slice(header.as_bytes());
    for at in 0..LAYERS * HEADS {
        npy.extend_from_slice(&(at as f32 / 2.0).to_le_bytes());
    }
    fs::create_dir(toy.path("run")).unwrap();
    fs::write(toy.path("run/head_importance.npy"), &npy).unwrap();
    let more = [
        "the cat",
        "--importance",
        "OUT/run",
        "--output",
        "OUT/a.html",
    ];
    view(&toy, &more).ok();
    let page = document(&String::from_utf8(toy.bytes("a.html")).unwrap());
    assert_eq!(page["importance"]["values"][5], 2.5);
    assert_eq!(page["start"]["layer"], LAYERS - 1);
    assert_eq!(page["start"]["head"], HEADS - 1);
    assert_eq!(page["start"]["why"], "that run finds most important");
}

#[test]
fn several_texts_become_one_file() {
    let toy = Toy::new();
    let out = ["--output", "OUT/a.html", "--overwrite", "--json"];
    let shown = |more: &[&str]| {
        let ran = view(&toy, &[more, &out].concat()).ok();
        let page = document(&String::from_utf8(toy.bytes("a.html")).unwrap());
        let texts: Vec<Value> = page["texts"].as_array().unwrap().clone();
        (ran, texts)
    };
    toy.write("t.txt", "the cat runs\n\nthe horse runs\tit sees a dog\r\n");
    let (ran, texts) = shown(&["--text", "OUT/t.txt"]);
    assert!(ran.err.contains("1 blank line of "), "{}", ran.err);
    assert_eq!(ran.json()["texts"], 2);
    assert_eq!(texts[0]["texts"], serde_json::json!(["the cat runs"]));
    assert_eq!(
        texts[1]["texts"],
        serde_json::json!(["the horse runs", "it sees a dog"])
    );
    let last = texts[1]["tokens"].as_array().unwrap().last().unwrap();
    assert_eq!(last["sequence"], 1);
    let (_, texts) = shown(&["--each", "the cat runs", "the horse runs", "it sees a dog"]);
    assert_eq!(texts.len(), 3);
    // A text beside others has the very numbers that it has alone.
    let arrays = |at: usize| -> Vec<String> {
        let html = String::from_utf8(toy.bytes("a.html")).unwrap();
        let named = |kind: &str| format!("id=\"array-{kind}.{at}.0\">");
        ["maps", "vectors", "prediction"]
            .map(|kind| {
                html.split(&named(kind))
                    .nth(1)
                    .unwrap()
                    .split('<')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .to_vec()
    };
    let second = arrays(1);
    shown(&["the horse runs"]);
    assert_eq!(arrays(0), second);
}

#[test]
fn texts_that_cannot_be_shown_are_named() {
    let toy = Toy::new();
    toy.write("two-tabs.txt", "the cat\nthe\tcat\truns\n");
    toy.write("half.txt", "the cat\t\n");
    toy.write("blank.txt", "\n  \n");
    toy.write("many.txt", &"the cat\n".repeat(101));
    toy.write(
        "long.txt",
        &format!("the cat\n{}\n", "the cat ".repeat(400)),
    );
    let out = ["--output", "OUT/a.html"];
    for (more, parts) in [
        (
            &["--text", "OUT/two-tabs.txt"][..],
            &["line 2 of ", "2 tabs"][..],
        ),
        (
            &["--text", "OUT/half.txt"],
            &["line 1 of ", "no text on one of its sides"],
        ),
        (&["--text", "OUT/blank.txt"], &["there is no text in it"]),
        (&["--text", "OUT/none.txt"], &["none.txt", "cannot be read"]),
        (
            &["--text", "OUT/many.txt"],
            &["101 texts", "takes 100", "head -n 100"],
        ),
        (&["--text", "OUT/long.txt"], &["line 2 of ", "--max-length"]),
        (
            &["the cat", "--text", "OUT/half.txt"],
            &["1 text behind MODEL", "leave one of them out"],
        ),
        (&["--each"], &["no text given"]),
        (
            &["the", "cat", "runs"],
            &["two make a pair", "--each", "\"the cat runs\""],
        ),
    ] {
        view(&toy, &[more, &out].concat()).failed(2, parts);
    }
    let both = view(&toy, &["--each", "--text", "OUT/half.txt"]);
    assert_eq!(both.code, Some(2));
    assert!(
        both.err.contains("'--each' cannot be used with '--text"),
        "{}",
        both.err
    );
    let many = vec!["the cat"; 101];
    view(&toy, &[&["--each"], &many[..], &out].concat())
        .failed(2, &["101 texts", "leave some out"]);
    // So many texts of so many tokens do not fit, whatever is left out of each.
    let some = format!("{}\n", "the cat sees a dog ".repeat(5)).repeat(100);
    toy.write("some.txt", &some);
    let small = [
        "--text",
        "OUT/some.txt",
        "--max-length",
        "20",
        "--size-limit",
        "1",
    ];
    view(&toy, &[&small[..], &out].concat())
        .failed(2, &["of 100 texts", "give fewer texts", "--size-limit"]);
    assert!(!toy.path("a.html").exists());
}

/// The model is named, and not where it lies.
#[test]
fn no_page_names_a_folder_of_the_disk() {
    let toy = Toy::new();
    view(&toy, &["the cat", "--output", "OUT/a.html"]).ok();
    let html = String::from_utf8(toy.bytes("a.html")).unwrap();
    assert_eq!(document(&html)["model"]["name"], "model");
    assert!(html.contains("<title>Attention of model</title>"));
    assert!(!html.contains(&toy.text("")));
    toy.run("importance", &["--output", "OUT/run"]).ok();
    let report = String::from_utf8(toy.bytes("run/report.html")).unwrap();
    assert!(!report.contains(&toy.text("")), "a path is in the report");
}

/// Without a display nothing is opened; the command says where the page is.
#[cfg(target_os = "linux")]
#[test]
fn without_a_browser_the_file_is_named() {
    let toy = Toy::new();
    fs::create_dir(toy.path("tmp")).unwrap();
    let output = command()
        .args(["view", &toy.text("model"), "the cat", "--json"])
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env("TMPDIR", toy.path("tmp"))
        .output()
        .unwrap();
    let ran = Ran::of(output).ok();
    assert!(ran.err.contains("no browser"), "{}", ran.err);
    let path = ran.json()["output"].as_str().unwrap().to_owned();
    assert!(path.starts_with(&toy.text("tmp")) && fs::metadata(path).unwrap().len() > 10_000);
}
