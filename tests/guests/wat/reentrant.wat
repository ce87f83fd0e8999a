;; SPDX-License-Identifier: Apache-2.0
;;
;; cabi_realloc calls back into the host: `open` of an unknown resource wants memory for its error,
;; whose cabi_realloc calls `open` again, and so on. Proves: no guest gets the host to call itself
;; until its stack is used up.
(module
  (import "weir:reactive/resources@0.1.0" "open" (func $open (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "nonesuch")
  (func $ask (call $open (i32.const 16) (i32.const 8) (i32.const 64)))
  (func (export "_start") (call $ask))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (call $ask)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408))
