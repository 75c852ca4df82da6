//! What a component makes at its start, counted from the outlines of its sections.
//!
//! The engine tells only how many memories there are and how large the largest is. Counted here is what the outermost
//! component instantiates, which is all there is in what toolchains emit; the runs' limits hold for the rest.

use serde::{Deserialize, Serialize};
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef,
    Instance, Parser, Payload,
};

/// Bytes of a page of linear memory, as a power of two, where the memory does not say.
const PAGE_LOG2: u32 = 16;

/// Instances, and the memories of their modules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) instances: u32,
    pub(crate) memories: u32,
    /// Initial size of these memories together.
    pub(crate) bytes: u64,
}

impl Start {
    /// Counts in the bytes of a component.
    pub(crate) fn of(component: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut start = Self::default();
        // By index; those defined elsewhere count as empty.
        let mut modules: Vec<Self> = Vec::new();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::ModuleSection { .. } => {
                    if depth == 0 {
                        modules.push(Self::default());
                    }
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::MemorySection(section) if depth == 1 => {
                    for memory in section {
                        let memory = memory?;
                        let page = 1 << memory.page_size_log2.unwrap_or(PAGE_LOG2).min(PAGE_LOG2);
                        if let Some(module) = modules.last_mut() {
                            module.memories += 1;
                            module.bytes = module.bytes.saturating_add(memory.initial.saturating_mul(page));
                        }
                    }
                }
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        if matches!(import?.ty, ComponentTypeRef::Module(_)) {
                            modules.push(Self::default());
                        }
                    }
                }
                Payload::ComponentAliasSection(section) if depth == 0 => {
                    for alias in section {
                        if is_module(&alias?) {
                            modules.push(Self::default());
                        }
                    }
                }
                Payload::InstanceSection(section) if depth == 0 => {
                    for instance in section {
                        if let Instance::Instantiate { module_index, .. } = instance? {
                            start.add(modules.get(module_index as usize));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(start)
    }

    fn add(&mut self, module: Option<&Self>) {
        let Self { memories, bytes, .. } = module.copied().unwrap_or_default();
        self.instances = self.instances.saturating_add(1);
        self.memories = self.memories.saturating_add(memories);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

fn is_module(alias: &ComponentAlias<'_>) -> bool {
    matches!(
        alias,
        ComponentAlias::InstanceExport {
            kind: ComponentExternalKind::Module,
            ..
        } | ComponentAlias::Outer {
            kind: ComponentOuterAliasKind::CoreModule,
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_instantiated_counts_and_what_is_not_does_not() {
        let component = wat::parse_str(
            r"(component
                (core module $unused (memory 100))
                (core module $large (memory 3) (memory 2))
                (core module $small (memory 1))
                (component (core module (memory 50)))
                (core instance (instantiate $small))
                (core instance (instantiate $large))
                (core instance (instantiate $small)))",
        );
        assert_eq!(
            Start::of(&component.unwrap()).unwrap(),
            Start {
                instances: 3,
                memories: 4,
                bytes: 7 << 16
            }
        );
    }
}
