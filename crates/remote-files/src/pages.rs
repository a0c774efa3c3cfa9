//! The names in a directory of a bucket, page by page.

use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::{Error, ListResult};

/// The most pages of names that are read of a directory. A page has 1,000 names or more.
pub(crate) const MAX_PAGES: usize = 20;

/// Passes the pages of a directory to `visit`; `prefix` is empty or ends with a slash. Returns false if there are more
/// than [`MAX_PAGES`].
pub(crate) async fn each_page(
    store: &dyn PaginatedListStore,
    prefix: &str,
    mut visit: impl FnMut(ListResult),
) -> Result<bool, Error> {
    let below = (!prefix.is_empty()).then_some(prefix);
    let mut page_token = None;
    for _ in 0..MAX_PAGES {
        let options = PaginatedListOptions {
            delimiter: Some("/".into()),
            page_token: page_token.take(),
            ..PaginatedListOptions::default()
        };
        let page = store.list_paginated(below, options).await?;
        visit(page.result);
        page_token = page.page_token;
        if page_token.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}
