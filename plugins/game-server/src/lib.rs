#![doc = include_str!("../README.md")]

mod a2s;
mod expect;
mod minecraft;
mod slp;
mod source;
mod wildcard;

use lapwing_plugin_sdk::export_checker;
use minecraft::Minecraft;
use source::Source;

export_checker!(Source, Minecraft);

#[cfg(test)]
mod tests {
    use super::{Minecraft, Source};
    use lapwing_plugin_sdk::{Checker, harness, serde_json};

    #[test]
    fn the_schemas_at_hand_are_those_of_the_configs() {
        harness::assert_schema::<Source>("schema/source-server.json");
        harness::assert_schema::<Minecraft>("schema/minecraft-server.json");
    }

    #[test]
    fn the_examples_are_accepted_and_unknown_fields_are_not() {
        fn tried<C: Checker>() -> bool {
            serde_json::from_str::<C::Config>(C::EXAMPLE).is_ok()
                && serde_json::from_str::<C::Config>(r#"{"host":"m","prot":25}"#).is_err()
                && serde_json::from_str::<C::Config>(r#"{"host":"m","expect":{"mapp":"x"}}"#).is_err()
        }
        assert!(tried::<Source>());
        assert!(tried::<Minecraft>());
    }
}
