//! An instance whose call trapped, or was dropped under way, is never entered again: the host drops its store. What would
//! happen otherwise is the engine's to refuse, and these tests notice when an engine does not (CVE-2026-27195 was a panic).

use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, TypedFunc},
};

/// `stuck` waits for its import, which never answers; `broken` traps; `fine` does nothing.
const GUEST: &str = r#"(component
    (import "wait" (func $wait))
    (core func $wait (canon lower (func $wait)))
    (core module $m
        (import "" "wait" (func $wait))
        (func (export "stuck") (call $wait))
        (func (export "broken") unreachable)
        (func (export "fine")))
    (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait))))))
    (func (export "stuck") (canon lift (core func $i "stuck")))
    (func (export "broken") (canon lift (core func $i "broken")))
    (func (export "fine") (canon lift (core func $i "fine"))))"#;

struct Guest {
    store: Store<()>,
    stuck: TypedFunc<(), ()>,
    broken: TypedFunc<(), ()>,
    fine: TypedFunc<(), ()>,
}

async fn guest() -> Guest {
    let mut config = Config::new();
    config.concurrency_support(false);
    let engine = Engine::new(&config).unwrap();
    let component = Component::from_binary(&engine, &wat::parse_str(GUEST).unwrap()).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .root()
        .func_wrap_async("wait", |_, (): ()| {
            Box::new(std::future::pending::<wasmtime::Result<()>>())
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let mut function = |name| instance.get_typed_func(&mut store, name).unwrap();
    let (stuck, broken, fine) = (function("stuck"), function("broken"), function("fine"));
    Guest {
        store,
        stuck,
        broken,
        fine,
    }
}

#[tokio::test]
async fn an_instance_that_trapped_is_not_entered_again() {
    let mut guest = guest().await;
    guest.fine.call_async(&mut guest.store, ()).await.unwrap();
    guest.broken.call_async(&mut guest.store, ()).await.unwrap_err();
    let error = guest.fine.call_async(&mut guest.store, ()).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("cannot enter component instance"),
        "{error:#}"
    );
}

#[tokio::test]
async fn an_instance_whose_call_was_dropped_is_not_entered_again() {
    let mut guest = guest().await;
    {
        let call = guest.stuck.call_async(&mut guest.store, ());
        tokio::pin!(call);
        assert!(futures_util::future::poll_immediate(&mut call).await.is_none());
    }
    let error = guest.fine.call_async(&mut guest.store, ()).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("cannot enter component instance"),
        "{error:#}"
    );
}
