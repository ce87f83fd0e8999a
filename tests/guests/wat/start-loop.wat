;; SPDX-License-Identifier: Apache-2.0
;;
;; The start function never ends. Proves: an instance is cut also while it is being made.
(module
  (func $start (loop $again br $again))
  (start $start)
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408))
