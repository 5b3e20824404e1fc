//! `run --plan FILE`: what the forecasts ask for, and lists of one's own.

use serde_json::{Value, json};

use crate::support::{Expect as _, Sandbox, json_of, stderr_of};

const SHORT: [&str; 6] = ["--iterations", "10", "--warmup", "0", "--min-time", "0"];

#[test]
fn a_list_of_configurations_is_measured_as_it_says() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "list.csv",
        "model,platform,device,engine,batch_size,input_shape\n\
         resnet18,cpu,scripted test device,scripted,3,3x224x224\n\
         cifar_cnn,cpu,,scripted,5,\n",
    );
    sandbox.benchdb().args(["run", "--plan", "list.csv", "--repeat", "2"]).args(SHORT).succeeds();
    let runs = sandbox.sql("SELECT model, batch_size FROM results ORDER BY run_id");
    let expected = [("resnet18", 3), ("cifar_cnn", 5), ("resnet18", 3), ("cifar_cnn", 5)];
    assert_eq!(runs, expected.map(|(model, batch)| json!({"model": model, "batch_size": batch})));
}

#[test]
fn what_this_machine_cannot_measure_is_left_out_aloud_and_the_rest_is_measured() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "list.csv",
        "model,platform,device,engine,input_shape,parameters\n\
         resnet18,cpu,NVIDIA GeForce RTX 4090,scripted,,\n\
         efficientnet_b0,cpu,,scripted,,\n\
         resnet18,cpu,,pytorch_of_somebody,,\n\
         resnet18,cpu,,scripted,3x99x99,\n\
         resnet18,cpu,,scripted,,\"{\"\"compiled\"\": true}\"\n\
         resnet18,cpu,,scripted,,\n",
    );
    let output = sandbox.benchdb().args(["run", "--plan", "list.csv"]).args(SHORT).succeeds();
    let said = stderr_of(&output);
    for what in ["RTX 4090", "efficientnet_b0", "pytorch_of_somebody", "3x99x99", "compiled"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM results"), 1);
}

#[test]
fn a_file_that_is_no_plan_is_refused_before_anything_is_made() {
    let sandbox = Sandbox::new();
    sandbox.write("no.json", "{\"kind\": \"runs\"}");
    sandbox.write("empty.csv", "model\n");
    for file in ["no.json", "empty.csv", "missing.json"] {
        sandbox.benchdb().args(["run", "--plan", file]).refuses(&[file], &[]);
    }
    let both = sandbox.benchdb().args(["run", "--plan", "empty.csv", "--model", "resnet18"]).ends_with(2);
    assert!(stderr_of(&both).contains("cannot be used with"), "{both:?}");
    assert!(!sandbox.db().exists());
}

/// The loop of the issue: forecasts say what would help most, `run` measures it, the next suggestions are others.
#[test]
fn suggestions_are_for_this_machine_and_are_not_made_again_once_measured() {
    let sandbox = Sandbox::new();
    let mut csv = String::from("model,platform,engine,batch_size\n");
    for batch in [1, 2, 3, 4, 5, 6, 7, 9] {
        csv += &format!("cifar_cnn,cpu,burn-flex,{batch}\n");
    }
    sandbox.write("list.csv", csv);
    sandbox.benchdb().args(["run", "--plan", "list.csv"]).args(SHORT).succeeds();
    let suggest = || {
        let mut command = sandbox.benchdb();
        command.args(["predict", "--suggest-anchors", "2", "--model", "cifar_cnn", "--hardware", "cpu"]);
        command.args(["--batch-sizes", "2,8,16,32", "--output", "plan.json"]).succeeds();
        let document: Value = serde_json::from_str(&sandbox.read("plan.json")).unwrap();
        document["measure_next"].as_array().unwrap().clone()
    };
    let first = suggest();
    assert_eq!(first.len(), 2, "{first:?}");
    let device = sandbox.value("SELECT DISTINCT device FROM results");
    for row in &first {
        assert_eq!((&row["device"], &row["engine"]), (&device, &json!("burn-flex")));
        assert_ne!(row["batch_size"], json!(2), "it is measured already");
    }
    let run = sandbox.benchdb().args(["run", "--plan", "plan.json", "--format", "json"]).args(SHORT).succeeds();
    assert!(json_of(&run).to_string().contains("cifar_cnn"));
    let second = suggest();
    assert!(second.iter().all(|row| !first.iter().any(|old| old["batch_size"] == row["batch_size"])), "{second:?}");
}
