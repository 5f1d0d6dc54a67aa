//! The advice of a message is taken, and what it promises comes about.

use std::collections::BTreeMap;
use std::fs;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::any_head::{on, set, weights_of};
use crate::assumed::assets;
use crate::harness::Toy;

/// The command is refused with all of these parts, and each of the steps is taken with success.
#[track_caller]
fn refused_then(toy: &Toy, words: &str, parts: &[&str], steps: &[&str]) {
    let ran = on(toy, words);
    assert!(matches!(ran.code, Some(1 | 2)), "{words}: {}", ran.err);
    let code = ran.code.unwrap();
    ran.failed(code, parts);
    for step in steps {
        let ran = on(toy, step);
        assert_eq!(ran.code, Some(0), "{step}: {}", ran.err);
    }
}

const LABELLED: &str = "--data DATA --text-column text --label-column label";

/// Adds or removes tensors of the toy's model; new ones are made of the values of others.
fn tensors(toy: &Toy, edit: impl FnOnce(&mut BTreeMap<String, (Vec<usize>, Vec<f32>)>)) {
    let path = toy.path("model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all = BTreeMap::new();
    for (name, view) in file.tensors() {
        let values = view.data().chunks_exact(4);
        let values = values.map(|four| f32::from_le_bytes(four.try_into().unwrap()));
        all.insert(name, (view.shape().to_vec(), values.collect::<Vec<f32>>()));
    }
    edit(&mut all);
    let bytes: BTreeMap<_, (Vec<usize>, Vec<u8>)> = all
        .into_iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name, (shape, bytes.collect()))
        })
        .collect();
    let views = bytes.iter().map(|(name, (shape, bytes))| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_family_of_two_stacks_is_called_one() {
    let toy = Toy::new();
    set(&toy, "model_type", json!("t5"));
    set(&toy, "architectures", json!(["T5ForConditionalGeneration"]));
    for words in [
        "inspect MODEL",
        "patterns MODEL --data DATA --text-column text",
    ] {
        let parts = [
            "`model_type` is \"t5\"",
            "no encoder with a decoder behind it",
            "take a model of one of these types",
        ];
        refused_then(&toy, words, &parts, &[]);
    }
    set(&toy, "model_type", json!("mamba"));
    set(&toy, "architectures", json!(["MambaForCausalLM"]));
    refused_then(
        &toy,
        "inspect MODEL",
        &["\"gpt2\" are supported; take a model of one of these types"],
        &[],
    );
    // A class that nobody knows, of a family that is known.
    set(&toy, "model_type", Value::Null);
    set(&toy, "architectures", json!(["MyBert"]));
    refused_then(
        &toy,
        "inspect MODEL",
        &[
            "MyBert",
            "if it is one of these, add \"model_type\": \"bert\"",
        ],
        &[],
    );
    set(&toy, "model_type", json!("bert"));
    on(&toy, "patterns MODEL --data DATA --text-column text").ok();
}

#[test]
fn an_objective_that_the_files_have_no_head_for() {
    let toy = Toy::new();
    toy.write("texts.txt", "the cat runs\nthe dog sees a horse\n");
    let texts = toy.text("texts.txt");
    let steps = [
        format!("patterns MODEL --text {texts} --output OUT/patterns"),
        format!("extract MODEL --text {texts} --hidden-states all --output OUT/values"),
        format!("cluster MODEL --text {texts} --clusters 2 --output OUT/cluster"),
        "prune MODEL --heads 0:1 --output OUT/pruned".to_owned(),
        "view MODEL thecatruns --output OUT/page.html".to_owned(),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    for command in ["importance", "mask", "ablate"] {
        refused_then(
            &toy,
            &format!("{command} MODEL --objective mlm --text {texts}"),
            &[
                "holds no fine-tuned masked language model",
                "prune --heads open it so of themselves",
            ],
            &[],
        );
    }
    let words = format!("importance MODEL --objective mlm --text {texts}");
    refused_then(&toy, &words, &[], &steps);
    let words = format!("importance MODEL --objective lm --text {texts}");
    refused_then(
        &toy,
        &words,
        &["take another objective or another model"],
        &[],
    );
}

#[test]
fn a_model_without_a_head_is_sent_to_the_studies_of_encoders() {
    let toy = weights_of("bert-bare");
    toy.write("texts.txt", "the cat runs\nthe dog sees a horse\n");
    let texts = toy.text("texts.txt");
    let steps = [
        format!("patterns MODEL --text {texts}"),
        format!("cluster MODEL --text {texts} --clusters 2"),
        format!("extract MODEL --text {texts} --hidden-states all --output OUT/values"),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let words = format!("importance MODEL {LABELLED}");
    refused_then(
        &toy,
        &words,
        &["no task head", "prune --heads need no head"],
        &steps[..2],
    );
    let words = format!("importance MODEL --text {texts}");
    refused_then(
        &toy,
        &words,
        &["without a head `bertology patterns`"],
        &steps,
    );
}

#[test]
fn several_regression_outputs_are_studied_as_the_message_says() {
    let toy = weights_of("bert-regression");
    tensors(&toy, |all| {
        for name in ["classifier.weight", "classifier.bias"] {
            let (shape, values) = all.get_mut(name).unwrap();
            shape[0] = 2;
            values.extend(values.clone());
        }
    });
    set(&toy, "problem_type", json!("regression"));
    set(&toy, "num_labels", json!(2));
    set(&toy, "id2label", json!({"0": "x", "1": "y"}));
    set(&toy, "label2id", json!({"x": 0, "y": 1}));
    for command in ["importance", "evaluate"] {
        refused_then(
            &toy,
            &format!("{command} MODEL {LABELLED}"),
            &[
                "regression head of 2 outputs",
                "`extract --hidden-states all --objective logit:K --gradients` the other",
            ],
            &[],
        );
    }
    for step in [
        "patterns MODEL --data DATA --text-column text",
        "cluster MODEL --data DATA --text-column text --clusters 2",
        "extract MODEL --data DATA --text-column text --hidden-states all --objective logit:0 --gradients --output OUT/a",
        "extract MODEL --data DATA --text-column text --hidden-states all --objective logit:1 --gradients --output OUT/b",
    ] {
        on(&toy, step).ok();
    }
}

#[test]
fn a_tokenizer_of_python_code_leaves_token_ids() {
    let toy = weights_of("roberta-mlm");
    for file in ["vocab.txt", "tokenizer_config.json"] {
        fs::remove_file(toy.path("model").join(file)).unwrap();
    }
    toy.write("model/vocab.txt", "a 1\n");
    toy.write("model/bpe.codes", "a b 1\n");
    toy.write("texts.txt", "the cat runs\n");
    toy.write("ids.txt", "0 5 6 7 2\n0 8 9 2\n");
    let (texts, ids) = (toy.text("texts.txt"), toy.text("ids.txt"));
    let said = [
        "exists as Python code only",
        "`bertology extract MODEL --token-ids FILE --hidden-states all` takes them",
    ];
    let step = format!("extract MODEL --token-ids {ids} --hidden-states all --output OUT/values");
    for words in [
        format!("importance MODEL --text {texts}"),
        format!("importance MODEL --token-ids {ids}"),
        format!("patterns MODEL --text {texts}"),
        format!("extract MODEL --text {texts} --hidden-states all --output OUT/none"),
        "syntax MODEL --conllu TREES".to_owned(),
        "inspect MODEL".to_owned(),
        "view MODEL thecat".to_owned(),
    ] {
        refused_then(&toy, &words, &said, &[]);
    }
    on(&toy, &step).ok();
}

#[test]
fn an_untied_output_layer_is_used_once_the_config_says_so() {
    let toy = weights_of("bert-mlm");
    toy.write("texts.txt", "the cat runs\nthe dog sees a horse\n");
    let words = format!(
        "importance MODEL --objective mlm --text {}",
        toy.text("texts.txt")
    );
    tensors(&toy, |all| {
        let mut own = all["bert.embeddings.word_embeddings.weight"].clone();
        own.1[0] += 1.0;
        all.insert("cls.predictions.decoder.weight".to_owned(), own);
    });
    let unexpected = format!("{words} --allow-unexpected");
    let parts = [
        "set \"tie_word_embeddings\": false",
        "say --allow-unexpected",
    ];
    refused_then(&toy, &words, &parts, &[&unexpected]);
    set(&toy, "tie_word_embeddings", json!(false));
    on(&toy, &words).ok();
    // Two biases of one layer: with the tie in the config or without, the advice is another one.
    tensors(&toy, |all| {
        let mut own = all["cls.predictions.bias"].clone();
        own.1[0] += 1.0;
        all.insert("cls.predictions.decoder.bias".to_owned(), own);
    });
    let parts = [
        "remove `cls.predictions.decoder.bias`",
        "say --allow-unexpected",
    ];
    refused_then(&toy, &words, &parts, &[&unexpected]);
    tensors(&toy, |all| {
        all.remove("cls.predictions.decoder.bias");
    });
    on(&toy, &words).ok();
}

/// The decoder's bias is the one that transformers computes with, and so it is here, without a question.
#[test]
fn of_robertas_two_biases_the_decoders_counts() {
    let toy = weights_of("roberta-mlm");
    toy.write("texts.txt", "the cat runs\nthe dog sees a horse\n");
    let words = format!(
        "importance MODEL --objective mlm --unmasked --text {} --output OUT/run",
        toy.text("texts.txt")
    );
    tensors(&toy, |all| {
        let mut own = all["lm_head.bias"].clone();
        own.1[7] += 3.0;
        all.insert("lm_head.decoder.bias".to_owned(), own);
    });
    on(&toy, &words).ok();
    let both = toy.bytes("run/head_importance.npy");
    tensors(&toy, |all| {
        all.remove("lm_head.bias");
    });
    on(&toy, &format!("{words} --overwrite")).ok();
    assert_eq!(both, toy.bytes("run/head_importance.npy"));
}

#[test]
fn data_without_labels_and_lines_that_look_blank() {
    let toy = Toy::new();
    toy.write("bare.tsv", "text\nthe cat runs\n");
    let bare = toy.text("bare.tsv");
    refused_then(
        &toy,
        &format!("importance MODEL --data {bare} --text-column text"),
        &[
            "--label-column COLUMN names it",
            "`bertology patterns`, `cluster` and `extract` need none, unless",
        ],
        &[
            &format!("importance MODEL {LABELLED}"),
            &format!("patterns MODEL --data {bare} --text-column text"),
            &format!("cluster MODEL --data {bare} --text-column text --clusters 2"),
            &format!(
                "extract MODEL --data {bare} --text-column text --hidden-states all --output OUT/values"
            ),
        ],
    );
    let sentence = "1\tthe\t_\tDET\t_\t_\t2\tdet\t_\t_\n2\tcat\t_\tNOUN\t_\t_\t0\troot\t_\t_\n";
    toy.write("data.conllu", &format!("{sentence}\t\n{sentence}\n"));
    let parts = [
        "line 3: the line looks blank, but its tabs make it 2 fields",
        "remove the tabs",
    ];
    refused_then(&toy, "syntax MODEL --conllu TREES", &parts, &[]);
    toy.write("data.conllu", &format!("{sentence}\n{sentence}\n"));
    on(&toy, "syntax MODEL --conllu TREES").ok();
}

#[test]
fn values_that_are_no_numbers_can_be_written_all_the_same() {
    let toy = Toy::new();
    tensors(&toy, |all| {
        let name = "bert.encoder.layer.0.attention.self.query.weight";
        all.get_mut(name).unwrap().1[0] = f32::NAN;
    });
    let step =
        "extract MODEL --data DATA --text-column text --hidden-states all --output OUT/values";
    let words = format!("importance MODEL {LABELLED}");
    let parts = [
        "is not a finite number",
        "`extract --allow-nonfinite` writes such values",
    ];
    refused_then(&toy, &words, &parts, &[]);
    refused_then(&toy, step, &parts, &[&format!("{step} --allow-nonfinite")]);
}

#[test]
fn a_score_below_zero_has_no_relative_threshold() {
    let toy = Toy::new();
    let (model, data) = (assets("tiny-bert"), assets("grammar"));
    let words = format!("mask {model} --task cola --data {data} --limit 60 --label-order 1,0");
    refused_then(
        &toy,
        &words,
        &[
            "is not above 0",
            "say --threshold-mode drop or absolute, with --threshold X",
        ],
        &[
            &format!("{words} --threshold-mode drop --threshold 0.01 --amount 0.5"),
            &format!("{words} --threshold-mode absolute --threshold -0.99 --amount 0.5"),
        ],
    );
    refused_then(
        &toy,
        &format!("{words} --max-drop 1%"),
        &["is not above 0", "or --max-drop 1pt"],
        &[&format!("{words} --max-drop 1pt --amount 0.5")],
    );
}

#[test]
fn maps_that_do_not_fit_into_memory() {
    let toy = Toy::new();
    let words = "cluster MODEL --data DATA --text-column text --clusters 2";
    refused_then(
        &toy,
        &format!("{words} --memory 0.0000001"),
        &[
            "0.00 MiB are allowed",
            "--max-length N --too-long cut, --rows N or --memory GIB",
        ],
        &[
            &format!("{words} --memory 0.000001 --max-length 3 --too-long cut"),
            &format!("{words} --memory 0.000003 --rows 1"),
            &format!("{words} --memory 1"),
        ],
    );
}
