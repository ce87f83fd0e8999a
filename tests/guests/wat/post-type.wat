;; SPDX-License-Identifier: Apache-2.0
;;
;; The cabi_post_ of the handler takes nothing instead of the result's address.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408)
  (func (export "cabi_post_weir:reactive/event-handler@0.1.0#handle-event")))
