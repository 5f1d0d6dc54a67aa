//! Measures on trial.

use serde_json::{Value, json};

use crate::harness::{Ran, Toy};

fn judge(toy: &Toy, more: &[&str]) -> Ran {
    let few = ["--examples", "16", "--seeds", "2"];
    let left = ["--left", "75%,25%"];
    let left = if more.contains(&"--left") {
        &[][..]
    } else {
        &left[..]
    };
    toy.run("judge", &[&few[..], left, more].concat())
}

fn column(table: &[Vec<String>], name: &str) -> Vec<String> {
    let at = table[0].iter().position(|column| column == name).unwrap();
    table[1..].iter().map(|row| row[at].clone()).collect()
}

#[test]
fn every_measure_of_heads_has_its_curve() {
    let toy = Toy::new();
    let all = "michel,fisher,taylor,taylor2,integrated,leave-one-out,shapley,gates-l1,gates-l0,query-norm,key-norm,value-norm";
    let more = ["--measures", all, "--gate-steps", "5", "--points", "2"];
    let ran = judge(&toy, &[&more[..], &["--output", "OUT/out"]].concat()).ok();
    assert!(ran.err.contains("which flatters"), "{}", ran.err);
    assert!(ran.out.contains("of 78 differences"), "{}", ran.out);
    assert_eq!(
        toy.names("out"),
        [
            "judged_curves.csv",
            "judged_differences.csv",
            "judged_measures.csv",
            "judged_units.csv",
            "report.html",
            "run.json"
        ]
    );
    let measures = column(&toy.table("out/judged_measures.csv"), "measure");
    assert_eq!(measures.len(), 13);
    let results = toy.record("out")["results"].clone();
    assert_eq!(results["measures"], json!(measures));
    // Whole, three quarters, a quarter of twelve heads; the whole is the same for all.
    let curves = toy.table("out/judged_curves.csv");
    let left: Vec<String> = column(&curves, "left");
    assert_eq!(left.len(), 13 * 2 * 3);
    assert_eq!(left[..3], ["12", "9", "3"]);
    let scores = column(&curves, "score");
    assert!(scores.iter().step_by(3).all(|score| *score == scores[0]));
    let units = toy.table("out/judged_units.csv");
    assert_eq!(units.len(), 1 + 13 * 2 * 12);
    let errors = column(&units, "standard_error");
    let of = column(&units, "measure");
    let known = |measure: &str| {
        let mut rows = of.iter().zip(&errors);
        rows.all(|(of, error)| of != measure || !error.is_empty())
    };
    for measure in ["michel", "shapley", "leave-one-out", "key-norm"] {
        assert!(known(measure), "{measure}");
    }
    assert!(!known("gates-l0") && !known("random"));
    let page = String::from_utf8(toy.bytes("out/report.html")).unwrap();
    assert!(page.contains("Measures on trial") && page.contains("judged-curves"));
}

#[test]
fn neurons_and_layers_go_too() {
    let toy = Toy::new();
    let neurons = judge(&toy, &["--units", "neurons", "--json"]).ok().json();
    assert_eq!(neurons["results"]["count"], json!(3 * 48));
    let more = [
        "--units",
        "layers",
        "--measures",
        "fisher,leave-one-out,integrated",
        "--output",
        "OUT/out",
    ];
    judge(&toy, &more).ok();
    let left = column(&toy.table("out/judged_curves.csv"), "left");
    // Of three layers three quarters are two, a quarter is one.
    assert_eq!(left[..3], ["3", "2", "1"]);
    let units = toy.table("out/judged_units.csv");
    assert_eq!(column(&units, "unit")[0], "");
    let operations = column(&toy.table("out/judged_curves.csv"), "operations");
    assert!((operations[2].parse::<f64>().unwrap() - 1.0 / 3.0).abs() < 1e-9);
}

#[test]
fn seeds_and_threads() {
    let toy = Toy::new();
    let of = |more: &[&str]| -> Value {
        let all = [&["--measures", "fisher,shapley", "--json"], more].concat();
        judge(&toy, &all).ok().json()["results"].clone()
    };
    assert_eq!(of(&["--threads", "1"]), of(&["--threads", "2"]));
    assert_eq!(of(&["--seed", "7"])["seeds"], json!([7, 8]));
    // The document holds what is found, without a folder too.
    let found = of(&[]);
    assert_eq!(found["left"], json!([12, 9, 3]));
    assert_eq!(found["curves"].as_array().unwrap().len(), 3);
    assert!(found["areas"][0][0].is_number() && found["areas"][0][1].is_array());
    let one = [
        "--seeds",
        "1",
        "--measures",
        "fisher",
        "--examples",
        "16",
        "--json",
    ];
    let one = toy.run("judge", &one).ok();
    assert!(one.err.contains("--seeds 2 or more"), "{}", one.err);
    let one = one.json()["results"].clone();
    assert_eq!(
        (&one["pairs"], &one["areas"][0][1]),
        (&json!([1, 0]), &Value::Null)
    );
}

#[test]
fn what_is_no_measure_of_the_units_is_refused() {
    let toy = Toy::new();
    let refused = judge(&toy, &["--units", "neurons", "--measures", "shapley"]);
    refused.failed(2, &["no measure of neurons", "--units"]);
    judge(&toy, &["--units", "heads", "--measures", "shapley"]).ok();
    for (option, wrong, said) in [
        ("--left", "120%", "between 0 and 1"),
        ("--measures", "guess", "leave-one-out"),
    ] {
        let ran = judge(&toy, &[option, wrong]);
        assert!(ran.code == Some(2) && ran.err.contains(said), "{}", ran.err);
    }
    judge(&toy, &["--part", "1/2"]).failed(2, &["all examples have been seen"]);
    judge(&toy, &["--points", "3", "--measures", "fisher"])
        .failed(2, &["--points is of", "integrated"]);
    judge(&toy, &["--points", "3", "--measures", "integrated"]).ok();
    // What would judge nothing.
    judge(&toy, &["--left", "99.9%"]).failed(2, &["none of 12 heads goes", "25.0%"]);
    judge(&toy, &["--left", "25.0%"]).ok();
    judge(&toy, &["--limit", "1"]).failed(2, &["at least two"]);
}

#[cfg(unix)]
#[test]
fn finished_curves_are_kept() {
    use crate::interrupted::interrupt;

    let toy = Toy::with_examples(300);
    let args = |out: &str, more: &[&str]| {
        let out = toy.text(out);
        let own = [
            "--seeds",
            "2",
            "--left",
            "50%",
            "--measures",
            "fisher,leave-one-out",
            "--output",
            &out,
        ];
        toy.arguments("judge", &[&own[..], more].concat())
    };
    interrupt(&args("run", &[]), "  seed 42  fisher").failed(130, &["finished curve", "--resume"]);
    assert_eq!(toy.names("run"), ["state.json"]);
    crate::harness::run(&args("run", &["--resume", "--seed", "7"])).failed(2, &["seed"]);
    let ran = crate::harness::run(&args("run", &["--resume"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    crate::harness::run(&args("whole", &[])).ok();
    for name in [
        "judged_curves.csv",
        "judged_units.csv",
        "judged_differences.csv",
    ] {
        let (found, expected) = (format!("run/{name}"), format!("whole/{name}"));
        assert!(toy.bytes(&found) == toy.bytes(&expected), "{name}");
    }
}
