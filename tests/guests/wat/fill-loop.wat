;; SPDX-License-Identifier: Apache-2.0
;;
;; Fills all of its memory again and again: each fill is one instruction, which takes long. Proves:
;; the bound on time holds for those, too.
(module
  (memory (export "memory") 512)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    (loop $again
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 33554432))
      br $again)
    i32.const 0))
