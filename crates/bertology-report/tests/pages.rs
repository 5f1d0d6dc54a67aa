//! Reports, joined heads and comparisons from run folders that are written here.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use bertology_report::{Error, compare, join, report};
use bertology_run::{Run, RunError};
use bertology_store::npy;
use serde_json::{Value, json};
use tempfile::TempDir;

const NASTY: &str = "</title><script>alert(1)</script>&\"'";

/// A folder of two layers of three heads.
struct Folder {
    base: TempDir,
}

impl Folder {
    fn new(command: &str, model: &str, results: &Value) -> Self {
        let base = TempDir::new().unwrap();
        let record = json!({
            "format": 1,
            "command": command,
            "bertology": "0.1.0",
            "arguments": [command, NASTY],
            "options": { "model": NASTY, "granularity": "example", "threads": null },
            "seed": 42,
            "seconds": { "load": 0.5, "total": 2.5 },
            "threads": 2,
            "model": {
                "name": NASTY, "family": "BERT", "num_layers": 2, "num_heads": 3, "heads_present": 6,
                "parameters": 1000, "sha256": model,
            },
            "data": { "file": { "path": "/data/a.tsv" }, "labels": [NASTY] },
            "results": results,
            "identity": { "model_sha256": model, "options": { "granularity": "example" } },
        });
        let folder = Self { base };
        folder.text("run.json", &record.to_string());
        folder
    }

    fn importance(model: &str, values: [f32; 6], ranks: [i64; 6]) -> Self {
        let results =
            json!({ "evaluation": { "metrics": { "acc": 0.75 }, "loss": 0.5, "examples": 8 } });
        let folder = Self::new("importance", model, &results);
        folder.bytes("head_importance.npy", &npy::encode(&[2, 3], &values));
        folder.bytes("head_ranks.npy", &npy::encode(&[2, 3], &ranks));
        folder
    }

    fn path(&self) -> &Path {
        self.base.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn text(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn bytes(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).unwrap();
    }

    fn run(&self) -> Run {
        Run::open(self.path()).unwrap()
    }
}

fn six() -> Folder {
    Folder::importance("aa", [0.0, 0.5, 1.0, 0.25, 0.0, 0.75], [4, 2, 0, 3, -1, 1])
}

#[test]
fn a_report_is_whole_without_a_script_and_escapes_all_texts() {
    let folder = six();
    let document = report(&folder.run()).unwrap();
    let html = document.render().unwrap();
    let body = html
        .split("<main")
        .nth(1)
        .unwrap()
        .split("</main>")
        .next()
        .unwrap();
    assert!(
        body.contains("<svg") && body.contains("<table"),
        "no figure or no table"
    );
    assert!(
        body.contains("layer 0, head 2: 1.00000"),
        "no number to read out"
    );
    assert!(
        body.contains("data-head=\"0.1\" data-row=\"0,1,0.5\""),
        "no row"
    );
    // A head without a score is not one that does not matter.
    assert!(body.contains("layer 1, head 1: not there or not computed"));
    assert!(body.contains("layer 0, head 0: 0<"));
    assert!(!html.contains("alert(1)</script>"));
    assert!(body.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"));
    for outside in ["http://", "https://", "src=", "@import"] {
        let text = html.replace("http://www.w3.org/", "");
        assert!(!text.contains(outside), "{outside}");
    }
}

/// Pages are handed on; the whole paths stay in `run.json`.
#[test]
fn pages_name_no_folder_of_anybodys_disk() {
    let homes = [
        "/home/jane doe",
        "C:\\Users\\jane",
        "~/secret",
        "../jane/secret",
    ];
    let folders: Vec<Folder> = homes
        .into_iter()
        .map(|home| {
            let folder = six();
            let mut record: Value =
                serde_json::from_str(&fs::read_to_string(folder.file("run.json")).unwrap())
                    .unwrap();
            let file = |name: &str| format!("{home}/{name}");
            record["model"]["name"] = json!(file("my model"));
            record["model"]["folder"] = json!(file("my model"));
            record["data"]["file"]["path"] = json!(file("dev.tsv"));
            record["options"]["data"] = json!(file("dev.tsv"));
            record["options"]["masks"] = json!([file("a.npy"), file("b.npy")]);
            record["identity"]["options"]["data"] = json!(file("dev.tsv"));
            record["arguments"] = json!([
                "importance",
                file("my model"),
                format!("--data={}", file("dev.tsv"))
            ]);
            folder.text("run.json", &record.to_string());
            folder
        })
        .collect();
    let runs: Vec<Run> = folders.iter().map(Folder::run).collect();
    let mut pages: Vec<String> = runs
        .iter()
        .map(|run| report(run).unwrap().render().unwrap())
        .collect();
    for page in &pages {
        assert!(page.contains("<p class=\"prose\">bertology importance my model --data=dev.tsv<"));
        assert!(page.contains("a.npy b.npy"));
    }
    let compared = compare(&runs[0], &runs[1]).unwrap();
    assert!(
        compared
            .differences
            .iter()
            .any(|(_, a, _)| a == "/home/jane doe/dev.tsv")
    );
    let page = compared.document().render().unwrap();
    assert!(page.contains("dev.tsv in another folder"));
    pages.push(page);
    pages.push(join(&runs).unwrap().document().render().unwrap());
    for page in &pages {
        for part in ["jane", "secret", "Users"] {
            assert!(!page.contains(part), "{part}");
        }
        let temporary = folders[0].path().parent().unwrap().to_str().unwrap();
        assert!(!page.contains(&format!("{temporary}/")), "{temporary}");
    }
}

#[test]
fn what_is_missing_is_named_and_what_is_damaged_is_refused() {
    let folder = six();
    let notes = report(&folder.run()).unwrap().notes().join(" ");
    assert!(notes.contains("attn_entropy.npy"), "{notes}");
    fs::remove_file(folder.file("head_importance.npy")).unwrap();
    let document = report(&folder.run()).unwrap();
    assert!(document.notes().join(" ").contains("head_importance.npy"));
    assert_eq!(document.figures().count(), 0);

    folder.bytes("head_importance.npy", b"no array");
    let error = report(&folder.run()).unwrap_err();
    assert!(matches!(&error, RunError::Npy { path, .. } if path.ends_with("head_importance.npy")));
    folder.bytes("head_importance.npy", &npy::encode(&[3, 2], &[0.0_f32; 6]));
    let error = report(&folder.run()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("its shape is [3, 2], but [2, 3] is needed"),
        "{error}"
    );
}

#[test]
fn tables_are_checked_before_they_are_believed() {
    let folder = Folder::new("ablate", "aa", &json!({ "metric": "acc" }));
    let names = "layer,head,change,loss_change,loss_standard_error\n";
    folder.text(
        "ablation.csv",
        &format!("{names}0,1,-0.5,0.25,0.1\n1,2,0,-0.125,0.05\n"),
    );
    let document = report(&folder.run()).unwrap();
    assert!(
        document
            .render()
            .unwrap()
            .contains("L0H1: 0.250000 (0.0540 to 0.446)")
    );
    for (row, why) in [
        ("0,1,-0.5,0.25", "4 fields, but 5 columns have a name"),
        (
            "0,one,-0.5,0.25,0.1",
            "row 1, column head: \"one\" is not a whole number from 0 on",
        ),
        (
            "0,1,-0.5,much,0.1",
            "row 1, column loss_change: \"much\" is not a number",
        ),
        ("0,1,-0.5,\"0.25,0.1", "a quote is opened and never closed"),
    ] {
        folder.text("ablation.csv", &format!("{names}{row}\n"));
        let error = report(&folder.run()).unwrap_err().to_string();
        assert!(
            error.contains(why) && error.contains("ablation.csv"),
            "{error}"
        );
    }
    folder.text("ablation.csv", "layer,head\n0,1\n");
    let error = report(&folder.run()).unwrap_err().to_string();
    assert!(error.contains("it has no column loss_change"), "{error}");
}

#[test]
fn only_complete_runs_of_this_program_are_opened() {
    let folder = six();
    let open = |text: &str| {
        folder.text("run.json", text);
        Run::open(folder.path()).unwrap_err().to_string()
    };
    assert!(open("{").contains("not valid JSON"));
    assert!(open("{}").contains("no usable format"));
    assert!(open("{\"format\": 2}").contains("its format is 2, this version of bertology knows 1"));
    assert!(open("{\"format\": 1}").contains("no usable model/num_layers"));
    let huge = "{\"format\":1,\"model\":{\"num_layers\":9999999999,\"num_heads\":1}}";
    assert!(open(huge).contains("no usable model/num_layers"));
    fs::remove_file(folder.file("run.json")).unwrap();
    let error = Run::open(folder.path()).unwrap_err();
    assert!(matches!(error, RunError::NotARun { .. }), "{error}");
}

#[test]
fn figures_stand_alone() {
    let folder = six();
    let document = report(&folder.run()).unwrap();
    let ids: Vec<&str> = document
        .figures()
        .map(bertology_report::Figure::id)
        .collect();
    assert_eq!(ids, ["heat-importance", "spread-importance"]);
    for figure in document.figures() {
        let svg = figure.file();
        assert!(
            svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox="),
            "{svg}"
        );
        assert!(svg.trim_end().ends_with("</svg>"));
        // Every program must see the colours, also those that know nothing of styles.
        assert!(!svg.contains("var(") && !svg.contains("<style"));
        assert!(svg.contains("fill=\"#ffffff\""));
    }
}

#[test]
fn runs_of_one_model_are_joined() {
    let importance = six();
    let ablate = Folder::new("ablate", "aa", &json!({ "metric": "acc" }));
    let change = [0.5, f32::NAN, -0.25, 0.0, 0.0, 0.125];
    ablate.bytes("head_ablation.npy", &npy::encode(&[2, 3], &change));
    let patterns = Folder::new("patterns", "aa", &json!({}));
    patterns.text(
        "behaviours.csv",
        "layer,head,behaviour\n0,0,next\n0,1,\n1,2,\"a, b\"\n",
    );
    let again = six();
    let joined = join(&[patterns.run(), importance.run(), ablate.run(), again.run()]).unwrap();
    let csv = joined.csv();
    let mut lines = csv.lines();
    let names = lines.next().unwrap();
    assert!(
        names.starts_with("layer,head,importance,behaviour,ablation_change,importance_"),
        "{names}"
    );
    let rows: Vec<&str> = lines.collect();
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0], "0,0,0,next,0.5,0");
    assert_eq!(rows[1], "0,1,0.5,none,,0.5");
    assert_eq!(rows[5], "1,2,0.75,\"a, b\",0.125,0.75");
    let json = joined.json();
    assert_eq!(json[4]["importance"], Value::Null);
    assert_eq!(json[5]["behaviour"], "a, b");
    assert!(joined.document().render().unwrap().contains("a, b"));
}

#[test]
fn other_models_are_not_joined() {
    let other = Folder::importance("bb", [0.0; 6], [0, 1, 2, 3, 4, 5]);
    let error = join(&[six().run(), other.run()]).unwrap_err();
    assert!(matches!(error, Error::DifferentModels { .. }));
    assert!(error.to_string().contains("SHA-256 bb"), "{error}");
    let evaluate = Folder::new("evaluate", "aa", &json!({}));
    let error = join(&[six().run(), evaluate.run()]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("evaluate says nothing of single heads"),
        "{error}"
    );
    assert!(matches!(join(&[]).unwrap_err(), Error::NoRuns));
}

#[test]
fn two_runs_are_compared_head_by_head() {
    let first = six();
    // Of another model; one head more, another head less.
    let second = Folder::importance("bb", [0.0, 1.0, 0.5, 0.75, 0.25, 0.0], [-1, 0, 2, 1, 3, 4]);
    let found = compare(&first.run(), &second.run()).unwrap();
    assert_eq!(found.overall[0], ("acc".to_owned(), 0.75, 0.75));
    let shift = &found.shifts[0];
    assert_eq!(
        (shift.common, shift.only_first, shift.only_second),
        (4, 1, 1)
    );
    // Pairs (0.5, 1), (1, 0.5), (0.25, 0.75), (0.75, 0): ranks 2 4 1 3 and 4 2 3 1; two of six in the same order.
    assert!(
        (shift.spearman - (1.0 - 6.0 * 16.0 / 60.0)).abs() < 1e-12,
        "{}",
        shift.spearman
    );
    assert!(
        (shift.kendall - (2.0 - 4.0) / 6.0).abs() < 1e-12,
        "{}",
        shift.kendall
    );
    assert!((shift.mean_change - (0.5 - 0.5 + 0.5 - 0.75) / 4.0).abs() < 1e-12);
    assert_eq!(shift.largest[0], ((1, 2), 0.75, 0.0));
    let html = found.document().render().unwrap();
    assert!(html.contains("layer 0, head 0: not in both runs"));
    assert!(html.contains("layer 1, head 2: −0.750000"));
    assert!(html.contains("missing"));
    assert!(
        found
            .differences
            .iter()
            .any(|(name, a, b)| name == "model SHA-256" && a == "aa" && b == "bb")
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let first = six();
    let other = Folder::new("ablate", "aa", &json!({}));
    let error = compare(&first.run(), &other.run()).unwrap_err();
    assert!(matches!(error, Error::DifferentCommands { .. }), "{error}");
    let text = fs::read_to_string(first.file("run.json")).unwrap();
    let second = six();
    second.text(
        "run.json",
        &text.replace("\"num_layers\":2", "\"num_layers\":3"),
    );
    let error = compare(&first.run(), &second.run()).unwrap_err();
    assert!(
        error.to_string().contains("(2, 3) layers and heads"),
        "{error}"
    );
}
