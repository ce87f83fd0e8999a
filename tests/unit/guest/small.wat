;; SPDX-License-Identifier: Apache-2.0
;;
;; The guest of small_guest.h, which says what its handlers do.
;;
;; Its memory: 256 texts, 512 what fd_write reads, 1024 the result, 2048 a return area, 8192 blocks.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "weir:reactive/resources@0.1.0" "open" (func $open (param i32 i32 i32)))
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 8192))
  (data (i32.const 256) "no")
  (data (i32.const 260) "order")
  (data (i32.const 270) "open")
  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32)
      (result i32) (local $block i32)
    (local.set $block
      (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
               (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $block) (local.get $size)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $next)
                             (i32.mul (memory.size) (i32.const 65536))))
      (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
      unreachable))
    (local.get $block))
  ;; One line of at most 400 bytes, by way of 600, where the newline is put behind it.
  (func $print (param $text i32) (param $size i32)
    (memory.copy (i32.const 600) (local.get $text) (local.get $size))
    (i32.store8 (i32.add (i32.const 600) (local.get $size)) (i32.const 10))
    (i32.store (i32.const 512) (i32.const 600))
    (i32.store (i32.const 516) (i32.add (local.get $size) (i32.const 1)))
    (drop (call $fd_write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 528))))
  (func $command (param $event i32) (result i32)
    (if (result i32) (i32.and (i32.load8_u offset=32 (local.get $event))
                              (i32.ne (i32.load offset=44 (local.get $event)) (i32.const 0)))
      (then (i32.load8_u (i32.load offset=40 (local.get $event))))
      (else (i32.const 0))))
  (func $is_first (param $event i32) (result i32)
    (i32.eqz (i32.load offset=100 (local.get $event))))
  (func $ok (result i32)
    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 112))
    (i32.const 1024))
  (func $err (result i32)
    (drop (call $ok))
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (i32.const 256))
    (i32.store (i32.const 1032) (i32.const 2))
    (i32.const 1024))
  (func $some (param $event i32) (result i32)
    (drop (call $ok))
    (i32.store8 (i32.const 1028) (i32.const 1))
    (memory.copy (i32.const 1032) (local.get $event) (i32.const 104))
    (i32.const 1024))
  (func $handle (param $event i32) (result i32) (local $command i32)
    (call $print (i32.load offset=24 (local.get $event)) (i32.load offset=28 (local.get $event)))
    (local.set $command (call $command (local.get $event)))
    (if (i32.eq (local.get $command) (i32.const 97))  ;; a
      (then
        (if (i32.eqz (call $is_first (local.get $event)))
          (then (call $print (i32.load offset=8 (i32.load offset=96 (local.get $event)))
                             (i32.load offset=12 (i32.load offset=96 (local.get $event))))))
        (return (call $err))))
    (if (i32.eq (local.get $command) (i32.const 101)) (then (return (call $err))))  ;; e
    (if (i32.eq (i32.or (local.get $command) (i32.const 32)) (i32.const 102))  ;; f, F
      (then (if (call $is_first (local.get $event)) (then (return (call $err))))
            (if (i32.eq (local.get $command) (i32.const 70))
              (then (return (call $some (local.get $event)))))))
    (if (i32.eq (local.get $command) (i32.const 116)) (then unreachable))  ;; t
    (if (i32.eq (local.get $command) (i32.const 108)) (then (loop $ever (br $ever))))  ;; l
    (if (i32.eq (local.get $command) (i32.const 115))  ;; s
      (then (return (call $some (local.get $event)))))
    (if (i32.eq (local.get $command) (i32.const 109))  ;; m
      (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
            unreachable))
    (if (i32.eq (local.get $command) (i32.const 99))  ;; c
      (then (call $open (i32.const 256) (i32.const 2) (i32.const 2048))
            (if (i32.load8_u (i32.const 2048))
              (then (call $print (i32.const 270) (i32.const 4))))))
    (call $ok))
  (func (export "weir:reactive/event-handler@0.1.0#handle-event")
      (param $event i32) (result i32)
    (call $handle (local.get $event)))
  (func (export "cabi_post_weir:reactive/event-handler@0.1.0#handle-event") (param i32)
    (global.set $next (i32.const 8192)))
  (func (export "on-order") (param $event i32) (result i32)
    (call $print (i32.const 260) (i32.const 5))
    (call $handle (local.get $event)))
  (func (export "on-bad") (param i64)))
