use clap::CommandFactory as _;

use super::*;

fn parse(line: &[&str]) -> Result<Cli, String> {
    let line = std::iter::once("meshos").chain(line.iter().copied());
    Cli::try_parse_from(line).map_err(|error| error.to_string())
}

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_is_there() {
    for line in [
        "node --seed a:5050 --seed b:5050 --seed c:5050 --config node.toml",
        "node --open-http --stop-tasks=false --agent-port 7000",
        "dev --nodes 3 --base-port 7000 --dir /tmp/d --resources cpus:1;mem:64",
        "dev -- --agent-timeout 5s",
        "run --cpus 1 --mem 64 --instances 2 --uri file:///x --env A=b --constraint rack:abc -- sh -c true",
        "run --node a:5050 echo -n hello",
        "nodes --json",
        "frameworks --json --node 127.0.0.1:7000",
        "tasks --json",
        "offers --json",
        "leader --json",
        "logs echo-F3 -f --stderr --json",
        "kill F3/echo-F3",
        "drain aaaaaaaaaaaa --json",
        "drain lab --grace 5m --mark-gone --json",
        "undrain aaaaaaaaaaaa",
        "deactivate aaaaaaaaaaaa --json",
        "reactivate lab",
        "gone aaaaaaaaaaaa --yes --json",
        "maintenance --json",
        "maintenance set lab b:5050 --in 2h --for 30m --json",
        "maintenance set lab --start 2026-12-24T02:00:00Z",
        "maintenance clear lab shop",
        "maintenance clear --all --json",
        "maintenance start lab --grace 5m",
        "maintenance stop lab --json",
        "weights --json",
        "weights set batch/low 0.5 --json",
        "voters --json",
        "voters add aaaaaaaaaaaa --json",
        "voters remove aaaaaaaaaaaa --raft-id 7",
        "voters recover --data-dir d --address a:5051 --term-above 7 --yes",
        "explain framework F3 --json",
        "explain role batch/low",
        "explain agent lab:5050 --json",
        "explain node lab",
        "explain task F3/echo-F3",
        "explain task --framework F3 --resources cpus:2;mem:64 --role web --json",
        "keygen",
        "keygen --dir d",
        "keygen framework analytics --dir d --out a.pem",
        "keygen operator alice --days 7",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(parse(&words).is_ok(), "{line}: {}", parse(&words).unwrap_err());
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (line, expected) in [
        ("", "Usage: meshos"),
        ("nodse", "similar subcommands exist: 'node', 'nodes'"),
        ("nodes --jsn", "'--json'"),
        ("nodes --node 5050", "expected HOST:PORT of a node's cluster port"),
        ("dev --nodes 0", "invalid value '0' for '--nodes <N>'"),
        ("run", "<COMMAND>"),
        ("explain task a --resources cpus:1 --framework F1", "cannot be used with"),
        ("explain task --resources cpus:1", "--framework"),
        ("maintenance set lab", "--start"),
        ("maintenance set --in 1h", "<NODE>"),
        ("maintenance set lab --in 1h --start 2026-12-24T02:00:00Z", "cannot be used with"),
        ("maintenance clear lab --all", "cannot be used with"),
        ("maintenance start lab --grace 2d", "longer than 1d"),
        ("weights set /x 1", "/x"),
        ("weights set a -1", "expected a number from 0.001 to 1000000"),
        ("weights set a 0", "expected a number from 0.001 to 1000000"),
        ("weights set a 1e300", "expected a number from 0.001 to 1000000"),
        ("weights set a 0.0001", "expected a number from 0.001 to 1000000"),
        ("quota set a --limit cpus:4;cpus:5", "cpus is named twice"),
        ("explain task --framework F1 --resources disk[v]:5", "as in disk(db)[tables]:500"),
        ("weights set a x", "expected a number from 0.001 to 1000000"),
        ("keygen framework a --days 0", "invalid value '0'"),
        ("priority set a 1.5", "expected a whole number from -2147483648 to 2147483647"),
        ("reserve lab cpus --role db", "'cpus'"),
    ] {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let error = parse(&words).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn every_command_teaches() {
    let mut cli = Cli::command();
    cli.build();
    for command in cli.get_subcommands() {
        assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let told = argument.get_help().is_some();
            assert!(told, "{} {} says nothing of itself", command.get_name(), argument.get_id());
        }
    }
    for name in ["node", "dev", "run", "logs", "voters", "weights", "keygen"] {
        let command = cli.find_subcommand(name).unwrap();
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:"), "{name} has no examples");
    }
}
