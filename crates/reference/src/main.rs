//! Writes the pages.

fn main() -> std::io::Result<()> {
    let directory = reference::directory();
    std::fs::create_dir_all(&directory)?;
    for page in reference::pages() {
        std::fs::write(directory.join(page.name), page.text)?;
    }
    Ok(())
}
