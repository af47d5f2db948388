//! End to end.
pub fn run() -> Result<(), String> {
    Ok(())
}
