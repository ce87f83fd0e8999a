// SPDX-License-Identifier: Apache-2.0
//
// What weir gives to a main. In a handler these are `unsupported`.
export { Events } from "weir:reactive/events@0.1.0";
export { open, watch } from "weir:reactive/resources@0.1.0";
