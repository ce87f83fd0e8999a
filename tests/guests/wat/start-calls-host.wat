;; SPDX-License-Identifier: Apache-2.0
;;
;; The start function asks the host for a set, before the module is ready. Proves: the host answers
;; with a trap.
(module
  (import "weir:reactive/events@0.1.0" "[static]events.get" (func $get (param i32)))
  (memory (export "memory") 1)
  (func $start (call $get (i32.const 0)))
  (start $start)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408))
