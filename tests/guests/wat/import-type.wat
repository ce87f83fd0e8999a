;; SPDX-License-Identifier: Apache-2.0
;;
;; Imports `open` with a type that it has not.
(module
  (import "weir:reactive/resources@0.1.0" "open" (func (param i64)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408))
