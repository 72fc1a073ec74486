//! What the author of a framework links: a [`Scheduler`] to implement and a [`SchedulerDriver`]
//! that runs it against any node of a cluster.
//!
//! A framework decides *what* runs *where*; the cluster decides *how much* it may use, by making
//! offers. Implement [`Scheduler`], answer offers with [`SchedulerDriver::launch`] or
//! [`SchedulerDriver::decline`], and watch your tasks through
//! [`Scheduler::status_update`]. The driver does the rest: it finds another node when the one it
//! talks to dies, resumes the same framework, delivers every status update once, and learns what
//! became of each task whose launch was under way when a leader died.
//!
//! ```no_run
//! use meshos_sdk::{Credentials, DriverOptions, Scheduler, SchedulerDriver, TaskBuilder};
//! use meshos_sdk::protocol::framework::Offer;
//! use meshos_sdk::protocol::task::StatusUpdate;
//!
//! struct Hello {
//!     launched: bool,
//! }
//!
//! impl Scheduler for Hello {
//!     fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
//!         for offer in offers {
//!             if self.launched {
//!                 driver.decline(&offer.id, None);
//!                 continue;
//!             }
//!             let task = TaskBuilder::shell("hello", "echo hello").cpus_mem("0.1", "32").build();
//!             driver.launch(&[offer], vec![task.expect("the task is valid")], None);
//!             self.launched = true;
//!         }
//!     }
//!
//!     fn status_update(&mut self, driver: &SchedulerDriver, status: StatusUpdate) {
//!         println!("{} is {}", status.task, status.state);
//!         if status.state.is_terminal() {
//!             driver.stop(false);
//!         }
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials::load("framework.pem".as_ref())?;
//! let options = DriverOptions::new("hello", vec!["127.0.0.1:5051".into()], credentials);
//! SchedulerDriver::run(Hello { launched: false }, options).await?;
//! # Ok(())
//! # }
//! ```

mod credentials;
mod driver;
mod executor;
mod executor_builder;
#[cfg(doctest)]
mod guide;
mod scheduler;
mod task_builder;
mod task_group;
pub mod wire;

pub use credentials::Credentials;
pub use driver::{DriverError, DriverOptions, SchedulerDriver, Status};
pub use executor::{
    Executor, ExecutorDriver, ExecutorOptions, ExecutorOptionsError, ExecutorRegistered, TaskUpdate,
};
pub use executor_builder::ExecutorBuilder;
pub use meshos_protocol as protocol;
pub use scheduler::{Registered, Scheduler};
pub use task_builder::{TaskBuilder, TaskBuilderError};
pub use task_group::TaskGroup;
