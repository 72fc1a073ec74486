//! What all commands that ask something have in common: whom they ask, and how they answer.

use std::{fmt::Display, process::ExitCode, str::FromStr, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    api::{Api, Choice},
    output, pages, text,
};

/// How long a command waits without a word.
const SILENCE: Duration = Duration::from_secs(1);
/// How long the node may take to say what it waits for.
const ASK_LIMIT: Duration = Duration::from_secs(1);

/// What all commands that ask something have in common.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub node: Choice,
    /// Print JSON for scripts, and nothing else, on standard output
    #[arg(long)]
    pub json: bool,
}

/// The node that a command is about.
#[derive(Debug, Clone, Args)]
pub(super) struct Subject {
    /// The node: its id, or its hostname or address, as `meshos nodes` shows them
    #[arg(id = "subject", value_name = "NODE")]
    pub node: String,
}

/// What a node tells of itself without being asked who asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Health {
    leader_known: bool,
    voters: Option<usize>,
    voters_answering: Option<usize>,
}

impl Common {
    /// The node to ask.
    ///
    /// # Errors
    /// When the certificate or the token that was named cannot be read.
    pub(super) fn api(&self) -> Result<Api> {
        Api::new(&self.node)
    }

    /// Asks the node and gives its answer.
    ///
    /// # Errors
    /// Whatever went wrong, in a sentence.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let api = self.api()?;
        Ok(patiently(&api, api.get(path)).await?)
    }

    /// Reads a whole list, however long.
    ///
    /// # Errors
    /// Whatever went wrong, in a sentence.
    pub(super) async fn list(&self, path: &str) -> Result<Value> {
        let api = self.api()?;
        Ok(patiently(&api, pages::read(&api, path)).await?)
    }

    /// The rows of an answer; none when they were printed as JSON.
    ///
    /// # Errors
    /// When they are not what was expected.
    pub(super) fn rows<T: DeserializeOwned>(&self, answer: Value) -> Result<Option<Vec<T>>> {
        if self.json {
            output::json(&answer)?;
            return Ok(None);
        }
        rows(answer).map(Some)
    }

    /// Has the node change something, and says what was done: its answer as JSON, or a sentence made
    /// of it.
    ///
    /// # Errors
    /// Whatever went wrong, in a sentence.
    pub(super) async fn change(
        &self,
        path: &str,
        body: &Value,
        sentence: impl FnOnce(&Value) -> String,
    ) -> Result<ExitCode> {
        let api = self.api()?;
        let answer = patiently(&api, api.post(path, body)).await?;
        if self.json {
            output::json(&answer)?;
        } else {
            output::wrapped(&text::plain(&sentence(&answer)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A value as it was written, when it can be read as `T`: the parser of the command line then refuses
/// what the node could only refuse too.
///
/// # Errors
/// What is wrong with it.
pub(super) fn readable<T: FromStr<Err: Display>>(text: &str) -> Result<String, String> {
    text.parse::<T>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The rows of an answer.
///
/// # Errors
/// When they are not what was expected.
pub(super) fn rows<T: DeserializeOwned>(answer: Value) -> Result<Vec<T>> {
    serde_json::from_value(answer)
        .context("the node's answer is not of the form that this release expects")
}

/// The node that a change was made to: as it was called, and its id when that is something else.
pub(super) fn node_changed(called: &str, answer: &Value) -> String {
    match answer["node_id"].as_str() {
        Some(id) if id != called => format!("{id} ({called})"),
        _ => called.to_owned(),
    }
}

/// Waits for an answer, and says what is waited for when it takes long.
pub(super) async fn patiently<T>(api: &Api, answer: impl Future<Output = T>) -> T {
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        () = tokio::time::sleep(SILENCE) => {}
    }
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        sentence = what_is_waited_for(api) => output::sentence(&sentence),
    }
    answer.await
}

/// What a node that does not answer waits for, as far as it says.
pub(super) async fn what_is_waited_for(api: &Api) -> String {
    let health = async {
        let told = tokio::time::timeout(ASK_LIMIT, api.health()).await.ok()?.ok()?;
        serde_json::from_value(told).ok()
    };
    waited_for(&api.node(), health.await.as_ref())
}

fn waited_for(node: &str, health: Option<&Health>) -> String {
    match health {
        None => format!("waiting for an answer of node {node}"),
        Some(Health { voters: Some(voters), voters_answering: Some(answering), .. })
            if *answering <= voters / 2 =>
        {
            let answer = if *answering == 1 { "answers" } else { "answer" };
            format!(
                "waiting for a leader: {answering} of {voters} voters {answer} node {node}, {} are needed",
                voters / 2 + 1
            )
        }
        Some(Health { leader_known: true, .. }) => {
            format!("waiting for the answer of the leader, asked through node {node}")
        }
        Some(_) => format!(
            "waiting for a leader: node {node} knows of none right now; an election may be under way"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_waited_for_is_told() {
        let told = |health: Option<Value>| {
            let health = health.map(|value| serde_json::from_value(value).unwrap());
            waited_for("a:5050", health.as_ref())
        };
        assert_eq!(told(None), "waiting for an answer of node a:5050");
        // A leader that is lost may not be missed yet.
        let lost = json!({"leader_known": true, "voters": 3, "voters_answering": 1});
        assert_eq!(
            told(Some(lost)),
            "waiting for a leader: 1 of 3 voters answers node a:5050, 2 are needed"
        );
        let voteless = json!({"leader_known": false, "voters": null});
        assert!(told(Some(voteless)).ends_with("an election may be under way"));
        let electing = json!({"leader_known": false, "voters": 3, "voters_answering": 2});
        assert!(told(Some(electing)).ends_with("an election may be under way"));
        assert!(told(Some(json!({"leader_known": true}))).contains("the answer of the leader"));
    }

    #[test]
    fn an_answer_of_another_form_is_told() {
        let error = rows::<Health>(json!({"nodes": 3})).unwrap_err().to_string();
        assert_eq!(error, "the node's answer is not of the form that this release expects");
    }

    #[test]
    fn a_node_is_told_with_its_id() {
        let answer = json!({"node_id": "aaaaaaaaaaaa"});
        assert_eq!(node_changed("aaaaaaaaaaaa", &answer), "aaaaaaaaaaaa");
        assert_eq!(node_changed("lab", &answer), "aaaaaaaaaaaa (lab)");
    }
}
