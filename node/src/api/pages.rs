//! Long lists, page by page, of one picture.
//!
//! A reader names the picture with a number of its choice and begins at offset 0: the rows as they
//! are then are kept for a while under that number, and the later pages are cut from the same rows,
//! whatever happens in between.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use meshos_control::master::{FrameworkView, OfferView, TaskView};
use serde::Serialize;
use serde_json::Value;

use super::{
    call::{Answer, Failure},
    reservations::{ReservationRow, VolumeRow},
    route::Page,
};

/// About how long a page is, in bytes: short enough not to hold up what shares its connection.
const PAGE_BYTES: usize = 2 << 20;
/// How many pictures are kept; the oldest goes when another reader begins.
const KEPT_MAX: usize = 4;
/// How long a picture is kept after its last page was read.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// The rows of a list. They are shared with the picture that they were taken from.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Rows {
    Nodes(Vec<Value>),
    Frameworks(Vec<Arc<FrameworkView>>),
    Tasks(Vec<Arc<TaskView>>),
    Offers(Vec<Arc<OfferView>>),
    Reservations(Vec<ReservationRow>),
    Volumes(Vec<VolumeRow>),
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Self::Nodes(rows) => rows.len(),
            Self::Frameworks(rows) => rows.len(),
            Self::Tasks(rows) => rows.len(),
            Self::Offers(rows) => rows.len(),
            Self::Reservations(rows) => rows.len(),
            Self::Volumes(rows) => rows.len(),
        }
    }

    fn row(&self, index: usize) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Nodes(rows) => serde_json::to_vec(&rows[index]),
            Self::Frameworks(rows) => serde_json::to_vec(&rows[index]),
            Self::Tasks(rows) => serde_json::to_vec(&rows[index]),
            Self::Offers(rows) => serde_json::to_vec(&rows[index]),
            Self::Reservations(rows) => serde_json::to_vec(&rows[index]),
            Self::Volumes(rows) => serde_json::to_vec(&rows[index]),
        }
    }
}

#[derive(Debug)]
struct Kept {
    picture: u64,
    rows: Arc<Rows>,
    read_at: Instant,
}

/// The pictures that somebody is reading.
#[derive(Debug)]
pub(super) struct Pages {
    page_bytes: usize,
    kept: Mutex<Vec<Kept>>,
}

impl Default for Pages {
    fn default() -> Self {
        Self { page_bytes: PAGE_BYTES, kept: Mutex::default() }
    }
}

impl Pages {
    /// One page: `{"rows": [...], "next": offset of the next page or null, "total": rows in all}`.
    /// `make` gives the rows as they are now; the first page is cut from those.
    pub(super) fn answer(
        &self,
        page: Page,
        make: impl FnOnce() -> Result<Rows, Failure>,
    ) -> Result<Answer, Failure> {
        let now = Instant::now();
        let rows = if page.offset == 0 { Arc::new(make()?) } else { self.find(page.picture, now)? };
        let (body, next) = self.cut(&rows, page.offset)?;
        match next {
            Some(_) => self.keep(page.picture, rows, now),
            None => self.forget(page.picture),
        }
        Ok(Answer::json_text(body))
    }

    fn cut(&self, rows: &Rows, offset: usize) -> Result<(Vec<u8>, Option<usize>), Failure> {
        let mut body = b"{\"rows\":[".to_vec();
        let total = rows.len();
        let mut index = offset;
        while index < total && (index == offset || body.len() < self.page_bytes) {
            let row = rows.row(index).map_err(|error| {
                Failure::unavailable(format!("a row cannot be written: {error}"))
            })?;
            if index > offset {
                body.push(b',');
            }
            body.extend_from_slice(&row);
            index += 1;
        }
        let next = (index < total).then_some(index);
        let shown = next.map_or_else(|| "null".to_owned(), |next| next.to_string());
        body.extend_from_slice(format!("],\"next\":{shown},\"total\":{total}}}").as_bytes());
        Ok((body, next))
    }

    fn find(&self, picture: u64, now: Instant) -> Result<Arc<Rows>, Failure> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| now.duration_since(one.read_at) < KEPT_FOR);
        let found = kept.iter().find(|one| one.picture == picture);
        found.map(|one| Arc::clone(&one.rows)).ok_or_else(|| {
            Failure::gone(format!(
                "picture {picture} is not kept here any more: begin again with offset=0"
            ))
        })
    }

    fn keep(&self, picture: u64, rows: Arc<Rows>, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| one.picture != picture && now.duration_since(one.read_at) < KEPT_FOR);
        if kept.len() >= KEPT_MAX {
            // They stand in the order in which they were last read.
            kept.remove(0);
        }
        kept.push(Kept { picture, rows, read_at: now });
    }

    fn forget(&self, picture: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| one.picture != picture);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn numbers(count: u64) -> Rows {
        Rows::Nodes((0..count).map(|number| json!({ "id": number })).collect())
    }

    fn ask(pages: &Pages, picture: u64, offset: usize, now: Rows) -> Result<Value, Failure> {
        let answer = pages.answer(Page { picture, offset }, || Ok(now))?;
        Ok(serde_json::from_slice(&answer.body).unwrap())
    }

    #[test]
    fn pages_are_cut_from_the_rows_of_the_first() {
        let pages = Pages { page_bytes: 60, ..Pages::default() };
        let mut read = Vec::new();
        let mut offset = 0;
        let mut asked = 0;
        loop {
            // The list grows meanwhile, which does not show.
            let page = ask(&pages, 7, offset, numbers(20 + asked)).unwrap();
            assert_eq!(page["total"], 20);
            read.extend(page["rows"].as_array().unwrap().iter().map(|row| row["id"].as_u64()));
            asked += 1;
            let Some(next) = page["next"].as_u64() else { break };
            offset = usize::try_from(next).unwrap();
        }
        assert_eq!(read, (0..20).map(Some).collect::<Vec<_>>());
        assert!(asked > 2, "{asked} pages");
        assert!(pages.kept.lock().unwrap().is_empty(), "nothing is kept after the last page");
    }

    #[test]
    fn a_short_list_is_one_page_and_an_empty_one_too() {
        let pages = Pages::default();
        assert_eq!(
            ask(&pages, 1, 0, numbers(2)).unwrap(),
            json!({ "rows": [{ "id": 0 }, { "id": 1 }], "next": null, "total": 2 })
        );
        assert_eq!(
            ask(&pages, 1, 0, numbers(0)).unwrap(),
            json!({ "rows": [], "next": null, "total": 0 })
        );
    }

    #[test]
    fn a_row_larger_than_a_page_is_a_page() {
        let pages = Pages { page_bytes: 1, ..Pages::default() };
        let page = ask(&pages, 1, 0, numbers(2)).unwrap();
        assert_eq!((&page["rows"], &page["next"]), (&json!([{ "id": 0 }]), &json!(1)));
    }

    #[test]
    fn a_picture_that_is_not_kept_any_more_is_told() {
        let pages = Pages { page_bytes: 1, ..Pages::default() };
        let unknown = ask(&pages, 9, 1, numbers(3)).unwrap_err();
        assert_eq!(Answer::from(unknown).status, 410);
        for picture in 0..=u64::try_from(KEPT_MAX).unwrap() {
            ask(&pages, picture, 0, numbers(3)).unwrap();
        }
        assert!(ask(&pages, 0, 1, numbers(3)).is_err(), "the oldest has made room");
        assert!(ask(&pages, 1, 1, numbers(3)).is_ok());
        let later = Instant::now() + KEPT_FOR;
        assert!(pages.find(1, later).is_err(), "its time is up");
    }

    #[test]
    fn an_offset_beyond_the_end_is_an_empty_page() {
        let pages = Pages { page_bytes: 1, ..Pages::default() };
        ask(&pages, 1, 0, numbers(3)).unwrap();
        let page = ask(&pages, 1, 9, numbers(3)).unwrap();
        assert_eq!((&page["rows"], &page["next"]), (&json!([]), &Value::Null));
    }
}
