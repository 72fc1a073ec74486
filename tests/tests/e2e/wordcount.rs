//! The example framework counts the words of this repository's documents on nodes with attributes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use meshos_tests::{Cluster, ClusterOptions, Command, Node, PATIENCE, poll_until};

const RACKS: [&str; 3] = ["a", "b", "c"];

/// The documents of this repository, as plain text as any.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let found = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = found.filter(|path| path.is_file()).collect();
    found.push(root.join("README.md"));
    found.sort();
    found
}

/// Lays the documents into one directory for each rack, and tells for each text, in the order in which the framework
/// numbers them, which rack it is in.
fn lay_out(texts: &Path) -> Vec<&'static str> {
    let mut places = Vec::new();
    for (number, document) in documents().into_iter().enumerate() {
        let rack = RACKS[number % RACKS.len()];
        let directory = texts.join(rack);
        fs::create_dir_all(&directory).unwrap();
        let copy = directory.join(document.file_name().unwrap());
        fs::copy(document, &copy).unwrap();
        places.push((copy, rack));
    }
    places.sort();
    places.into_iter().map(|(_, rack)| rack).collect()
}

#[test]
fn words_are_counted_next_to_their_texts_and_the_sum_is_that_of_a_plain_count() {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    for (node, rack) in cluster.nodes.iter_mut().zip(RACKS) {
        node.arguments().flags.extend(["--attributes".to_owned(), format!("rack:{rack}")]);
        node.start();
    }
    cluster.wait_until_ready();
    let racks: BTreeMap<String, &str> =
        cluster.nodes.iter().zip(RACKS).map(|(node, rack)| (node.id(), rack)).collect();
    let gateway = cluster.follower();
    let texts = cluster.path().join("texts");
    let places = lay_out(&texts);
    let pem = cluster.path().join("wordcount.pem");
    fs::write(&pem, meshos_tests::framework_credentials_pem(&cluster.nodes[gateway], "wordcount"))
        .unwrap();

    let mut arguments = vec!["--node".to_owned(), cluster.nodes[gateway].quic().to_string()];
    let work = cluster.path().join("work");
    for (name, value) in [("--credentials", &pem), ("--input", &texts), ("--work", &work)] {
        arguments.extend([name.to_owned(), value.display().to_string()]);
    }
    // Longer than any machine is busy: each text is read where it is.
    arguments.extend(["--locality", "rack", "--delay-ms", "60000"].map(str::to_owned));
    let told = Command::example("wordcount", cluster.path(), arguments).run().success();

    let first = told.stdout.lines().next().unwrap_or_default();
    let maps = places.len();
    let expected =
        format!("; {maps} map tasks, {maps} of them next to their text; same as the plain count");
    assert!(first.ends_with(&expected), "{first}");
    let ran = ended_maps(&cluster.nodes[gateway], maps);
    assert_eq!(ran.keys().copied().collect::<Vec<_>>(), (0..maps).collect::<Vec<_>>());
    for (number, node) in ran {
        assert_eq!(racks[&node], places[number], "text {number} was counted elsewhere");
    }
}

/// On which node each map task ran, once the picture that nodes show has the end of all of them.
fn ended_maps(gateway: &Node, count: usize) -> BTreeMap<usize, String> {
    poll_until(PATIENCE, "all map tasks are shown as finished", || {
        let rows = gateway.json("/api/tasks")?;
        let finished = rows.as_array()?.iter().filter(|row| row["state"] == "finished");
        let maps: Vec<(usize, String)> = finished
            .filter_map(|row| {
                let number = row["id"].as_str()?.strip_prefix("map-")?.split('.').next()?;
                Some((number.parse().ok()?, row["node_id"].as_str()?.to_owned()))
            })
            .collect();
        assert!(maps.len() <= count, "a text was counted twice: {rows}");
        (maps.len() == count).then(|| maps.into_iter().collect())
    })
}
