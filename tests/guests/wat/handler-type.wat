;; SPDX-License-Identifier: Apache-2.0
;;
;; handle-event takes no event. Proves: the signature is looked at when the guest is loaded.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event")))
