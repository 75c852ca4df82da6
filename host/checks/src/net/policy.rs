//! Which addresses checks may reach, judged at connect time on the resolved address.

/// The operator's rules.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {}
