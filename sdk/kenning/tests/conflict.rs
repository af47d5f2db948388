//! Two metrics of one name: the start is refused, the exposition stays valid.

mod first {
    kenning::metrics! {
        /// The first.
        pub static A: Counter = "conflict_total";
    }
}

mod second {
    kenning::metrics! {
        /// The second.
        pub static B: Counter { kind: String } = "conflict_total";
    }
}

#[test]
fn one_name_two_metrics() {
    first::A.inc();
    second::B.with("x").inc();
    let silent = |name: &str| (name == "LOG_FORMAT").then(|| "xml".to_owned());
    let error = kenning::builder().env(silent).init().unwrap_err();
    assert!(error.is_metric_conflict() && error.is_configuration(), "told together: {error}");
    let text = error.to_string();
    assert!(
        text.contains("conflict_total")
            && text.contains("conflict::first")
            && text.contains("conflict::second")
    );
    let (metrics, _) = kenning::metrics::scrape(None);
    assert_eq!(metrics.matches("# TYPE conflict_total").count(), 1);
    assert!(metrics.contains("\nconflict_total 1\n") && !metrics.contains("kind="), "{metrics}");
}
