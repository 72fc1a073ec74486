//! What was asked for, checked.

use anyhow::{Result, anyhow, bail, ensure};
use meshos_protocol::{
    resources::{Amount, Resources},
    role::Role,
    task::{TaskDescription, Uri},
    time::millis,
};
use meshos_sdk::TaskBuilder;

use super::{Arguments, Revocable, constraint::Constraint};

/// A task's id has 255 bytes; the rest is for the framework and the number of the instance.
const NAME_CHARS_MAX: usize = 48;

/// What was asked for, checked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub name: String,
    pub role: Role,
    pub instances: usize,
    pub need: Resources,
    pub constraints: Vec<Constraint>,
    /// A task without an id of its own.
    pub template: TaskDescription,
}

impl Request {
    pub(super) fn of(arguments: &Arguments) -> Result<Self> {
        let cpus = amount("--cpus", &arguments.cpus, "2 or 0.5")?;
        let mem = amount("--mem", &arguments.mem, "512, in MB")?;
        let role = Role::new(&arguments.role)
            .map_err(|error| anyhow!("--role is {:?}: {error}", arguments.role))?;
        let constraints = arguments.constraint.iter().map(|text| Constraint::parse(text));
        let constraints = constraints.collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
        let (program, rest) = match arguments.command.split_first() {
            Some((program, rest)) if !program.is_empty() => (program, rest),
            _ => bail!(
                "there is no command; write it behind --, for example: meshos run -- echo hello"
            ),
        };
        let name = match &arguments.name {
            Some(name) => fit_name(name),
            None => fit_name(command_name(program, arguments.shell)),
        };
        let mut task = if arguments.shell {
            TaskBuilder::shell(&name, arguments.command.join(" "))
        } else {
            TaskBuilder::exec(&name, program, rest.to_vec())
        };
        for variable in &arguments.env {
            let (key, value) =
                variable.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                    anyhow!("--env is {variable:?}: expected NAME=VALUE, for example MODE=fast")
                })?;
            task = task.env(key, value);
        }
        if let Some(user) = &arguments.user {
            ensure!(!user.is_empty(), "--user is empty: name a user of the nodes");
            task = task.user(user);
        }
        for value in &arguments.uri {
            ensure!(
                !value.is_empty(),
                "--uri is empty: name a path, a file:// or an http:// address"
            );
            ensure!(
                value.starts_with('/') || value.contains("://"),
                "--uri is {value:?}, a relative path, which says nothing to the node that fetches it: name an \
                 absolute path, a file:// or an http:// address"
            );
            let value = value.clone();
            task = task.uri(Uri { value, executable: false, extract: true, output_file: None });
        }
        if let Some(limit) = arguments.time_limit {
            task = task.max_completion_ms(millis(limit));
        }
        if let Some(check) = arguments.health.check()? {
            task = task.health_check(check);
        }
        let kind = |of| if arguments.revocable.contains(&of) { "{revocable}" } else { "" };
        let (of_cpus, of_mem) = (kind(Revocable::Cpus), kind(Revocable::Mem));
        let resources = format!("cpus{of_cpus}:{cpus};mem{of_mem}:{mem}");
        let template = task.resources(resources).build()?;
        Ok(Self {
            name,
            role,
            instances: usize::try_from(arguments.instances)?,
            need: template.resources.clone(),
            constraints,
            template,
        })
    }
}

fn amount(flag: &str, text: &str, example: &str) -> Result<Amount> {
    let expected = || {
        anyhow!(
            "{flag} is {text:?}: expected a number in digits of at least 0.001, for example {example}"
        )
    };
    let amount: Amount = text.parse().map_err(|_| expected())?;
    if amount.is_zero() || amount.is_negative() { Err(expected()) } else { Ok(amount) }
}

fn command_name(program: &str, shell: bool) -> &str {
    let word = if shell { program.split_whitespace().next().unwrap_or_default() } else { program };
    // A line for the shell may begin with anything.
    let plain = |word: &str| {
        word.chars().all(|letter| letter.is_alphanumeric() || "/._-+".contains(letter))
    };
    if shell && !plain(word) {
        return "sh";
    }
    word.rsplit('/').find(|part| !part.is_empty()).unwrap_or("task")
}

/// A name that can stand in the id of a task.
fn fit_name(name: &str) -> String {
    let fit = |letter: char| match letter {
        '/' | '\\' => '-',
        letter if letter.is_control() || letter.is_whitespace() => '-',
        letter => letter,
    };
    let name: String =
        name.trim_matches(['.', ' ']).chars().map(fit).take(NAME_CHARS_MAX).collect();
    if name.is_empty() { "task".to_owned() } else { name }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser as _;
    use meshos_protocol::task::CommandLine;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// The request of a command line.
    pub(in crate::cli::run) fn request(line: &[&str]) -> Result<Request> {
        let line = std::iter::once("run").chain(line.iter().copied());
        Request::of(&Line::try_parse_from(line).unwrap().arguments)
    }

    fn error(line: &[&str]) -> String {
        request(line).unwrap_err().to_string()
    }

    #[test]
    fn a_command_becomes_a_task() {
        let line = [
            "--cpus",
            "0.5",
            "--mem",
            "64",
            "--instances",
            "3",
            "--env",
            "A=b=c",
            "--user",
            "u",
            "--uri",
            "http://h/x.tgz",
            "--constraint",
            "rack:abc",
            "--role",
            "web",
            "--",
            "/bin/echo",
            "-n",
            "--mem",
        ];
        let request = request(&line).unwrap();
        assert_eq!(request.name, "echo");
        assert_eq!(request.instances, 3);
        assert_eq!(request.need.to_string(), "cpus:0.5;mem:64");
        assert_eq!(request.role.as_str(), "web");
        assert_eq!(request.constraints.len(), 1);
        let command = &request.template.command;
        assert_eq!(
            command.line,
            CommandLine::Exec {
                program: "/bin/echo".into(),
                arguments: vec!["-n".into(), "--mem".into()]
            }
        );
        assert_eq!(command.environment["A"], "b=c");
        assert_eq!(command.user.as_deref(), Some("u"));
        assert!(command.uris[0].extract);
    }

    #[test]
    fn what_may_be_taken_back_is_asked_for_by_name() {
        let need = |line: &[&str]| request(line).unwrap().need;
        let both = need(&["--revocable", "--cpus", "2", "--mem", "64", "x"]);
        assert_eq!(both.to_string(), "cpus{revocable}:2;mem{revocable}:64");
        assert_eq!(both, need(&["--revocable=mem,cpus", "--cpus", "2", "--mem", "64", "x"]));
        assert_eq!(need(&["--revocable=cpus", "x"]).to_string(), "mem:128;cpus{revocable}:1");
        assert_eq!(need(&["x"]).revocable(), Resources::new());
    }

    #[test]
    fn a_line_for_the_shell_is_handed_on_whole() {
        let request = request(&["--shell", "--", "sort words | uniq -c", ">", "out"]).unwrap();
        let line = "sort words | uniq -c > out".to_owned();
        assert_eq!(request.template.command.line, CommandLine::Shell { line });
        assert_eq!(request.name, "sort");
        assert_eq!(self::request(&["--shell", "i=0; echo $i"]).unwrap().name, "sh");
    }

    #[test]
    fn what_cannot_be_run_is_told_why() {
        assert_eq!(
            error(&["--cpus", "0", "x"]),
            "--cpus is \"0\": expected a number in digits of at least 0.001, for example 2 or 0.5"
        );
        assert_eq!(
            error(&["--mem", "1G", "x"]),
            "--mem is \"1G\": expected a number in digits of at least 0.001, for example 512, in MB"
        );
        assert_eq!(
            error(&["--env", "A", "x"]),
            "--env is \"A\": expected NAME=VALUE, for example MODE=fast"
        );
        assert!(error(&["--role", "a b", "x"]).starts_with("--role is \"a b\": "));
        assert!(error(&["--constraint", "rack", "x"]).starts_with("--constraint is \"rack\": "));
        let relative = error(&["--uri", "words.txt", "x"]);
        assert!(relative.starts_with("--uri is \"words.txt\", a relative path"), "{relative}");
        assert!(error(&[""]).starts_with("there is no command"));
    }

    #[test]
    fn names_are_made_fit_for_ids() {
        assert_eq!(request(&["--name", "a/b c", "x"]).unwrap().name, "a-b-c");
        assert_eq!(request(&["--name", "..", "x"]).unwrap().name, "task");
        assert_eq!(request(&["/"]).unwrap().name, "task");
        assert_eq!(
            request(&["--name", &"é".repeat(200), "x"]).unwrap().name.chars().count(),
            NAME_CHARS_MAX
        );
    }
}
