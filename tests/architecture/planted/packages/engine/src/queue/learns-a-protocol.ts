// Planted: the engine may not meet the wire, not even for a type.
import type { Frame } from '@stathmos/wire/amqp'
export type Borrowed = Frame
