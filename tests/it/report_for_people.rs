//! `benchdb report` as people read it: what they are spared is counted, intervals say what they are, endings mean something.

use serde_json::json;

use crate::made::{Made, all_taking};
use crate::report::{report, rows, table};
use crate::support::{Expect as _, Sandbox, stderr_of, stdout_of};

#[test]
fn rows_that_people_are_spared_are_counted() {
    let sandbox = Sandbox::new();
    // Of eight batch sizes the largest beats all others in every respect.
    let batches = (0..8).map(|power| Made::taking(10.0).batch(1 << power));
    sandbox.take(&batches.chain([Made::taking(5.0).model("alone")]).collect::<Vec<_>>());
    let output = sandbox.benchdb().args(["report", "--format", "markdown"]).succeeds();
    let text = stdout_of(&output);
    let of = |name: &str| text.split(&format!("## {name}\n")).nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let lines = |section: &str| section.lines().filter(|line| line.starts_with('|')).count() - 2;
    let recommendations = of("Recommendations");
    let shown = lines(&recommendations);
    assert!(recommendations.contains(&format!("its Pareto set: {shown} of 9.")), "{recommendations}");
    assert!(shown < 9, "{recommendations}");
    // No limit hid them, so none would show them.
    assert!(!recommendations.contains("left out"), "{recommendations}");
    let document = report(&sandbox, &[]);
    assert_eq!(rows(&table(&document, "Recommendations")).len(), 9, "programs get all");
    // The rankings of `alone` have nobody to compete with.
    let rankings = of("Rankings");
    assert!(rankings.contains("one contender alone") && !rankings.contains("| alone"), "{rankings}");
    let all = rows(&table(&document, "Rankings"));
    assert!(all.iter().any(|row| row["model"] == "alone"), "{all:?}");
}

#[test]
fn an_interval_says_what_it_is_and_numbers_stand_before_what_seldom_matters() {
    let sandbox = Sandbox::new();
    let mut runs = all_taking(&[10.0, 11.0]);
    runs.extend((0..6).map(|run| {
        Made::taking(9.0 + f64::from(run) / 10.0)
            .model("six")
            .with("/configuration/parameters", json!({"memory_layout": "nchw"}))
    }));
    sandbox.take(&runs);
    for output in [
        sandbox.benchdb().args(["report", "--format", "markdown"]).succeeds(),
        sandbox.benchdb().args(["analyze", "--sections", "comparison"]).succeeds(),
    ] {
        let text = stdout_of(&output);
        assert!(text.contains("interval") && text.contains("10.00 to 11.00 range"), "{text}");
        assert!(text.contains("9.000 to 9.500 at 95 %") && text.contains("memory_layout=nchw"), "{text}");
    }
    let text = stdout_of(&sandbox.benchdb().args(["report", "--format", "markdown"]).succeeds());
    let head = text.lines().find(|line| line.contains("| interval |")).unwrap();
    assert!(head.find("samples/s").unwrap() < head.find("parameters").unwrap(), "{head}");
}

#[test]
fn an_ending_that_no_report_has_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.take(&all_taking(&[1.0]));
    for file in ["a.pdf", "a.svg", "a.csv", "a.TXT"] {
        sandbox
            .benchdb()
            .args(["report", "--output", file])
            .refuses(&[&format!("`{file}`")], &[".html", ".md", ".json", "--format"]);
        assert!(!sandbox.path(file).exists(), "{file}");
    }
    // Who names the format gets it, and is told where the ending says something else.
    for (file, is_told) in [("b.txt", false), ("b.json", false), ("b.html", true)] {
        let output = sandbox.benchdb().args(["report", "--format", "json", "--output", file]).succeeds();
        assert!(sandbox.read(file).starts_with('{'), "{file}");
        assert_eq!(stderr_of(&output).contains("holds JSON, which its ending does not say"), is_told, "{file}");
    }
}
