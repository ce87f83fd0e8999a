;; SPDX-License-Identifier: Apache-2.0
;;
;; Wants 4 GiB of memory from the start. Proves: the bound on memory holds for what a module
;; declares.
(module
  (memory (export "memory") 65536)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "weir:reactive/event-handler@0.1.0#handle-event") (param i32) (result i32)
    i32.const 65408))
