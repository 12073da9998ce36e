//! The pages in `docs/reference/` are what the code says.

#[test]
fn every_page_is_up_to_date() {
    for page in reference::pages() {
        let path = reference::directory().join(page.name);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text == page.text,
            "docs/reference/{} is out of date: run `just reference` and look at the difference",
            page.name
        );
    }
}
