;; SPDX-License-Identifier: Apache-2.0
;;
;; A data segment outside of the memory: it traps as the instance is made.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408)
  (data (i32.const 0x7fff0000) "outside"))
