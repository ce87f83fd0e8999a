;; SPDX-License-Identifier: Apache-2.0
;;
;; A module with neither main nor handler.
(module)
