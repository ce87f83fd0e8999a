;; SPDX-License-Identifier: Apache-2.0
;;
;; Imports a function that weir's interface does not have.
(module
  (import "weir:reactive/resources@0.1.0" "frobnicate" (func (param i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408))
