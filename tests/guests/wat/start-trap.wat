;; SPDX-License-Identifier: Apache-2.0
;;
;; The start function traps. Proves: an instance that cannot be made is a failed call with its
;; reason.
(module
  (func $start unreachable)
  (start $start)
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408))
