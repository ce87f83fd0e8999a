;; SPDX-License-Identifier: Apache-2.0
;;
;; The initializer of a reactor never ends. Proves: it runs within the bounds of a call.
(module
  (func (export "_initialize") (loop $again br $again))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408))
