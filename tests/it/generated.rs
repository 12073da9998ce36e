//! Files that are made from what the binaries say of themselves are as the binaries are now.

use anyhow::{Result, ensure};
use testkit::binaries;
use tokio::process::Command;

#[tokio::test]
async fn what_is_made_from_the_settings_is_up_to_date() -> Result<()> {
    let built = binaries::mcp_auth();
    let generator = binaries::workspace().join("scripts/generate/main.py");
    let output = Command::new("python3")
        .arg(generator)
        .args(["--check", "--binaries"])
        .arg(built.parent().unwrap_or(&built))
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
