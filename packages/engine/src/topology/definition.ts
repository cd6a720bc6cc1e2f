import type { AccessChange } from '../access/access.ts'
import type { ExchangeDefinition } from '../exchange/exchange.ts'
import type { JsonValue } from '../message/headers-json.ts'
import type { QueueDefinition } from '../queue/settings.ts'

/** A binding as it is stored. */
export interface BindingDefinition {
  readonly source: string
  readonly kind: 'queue' | 'exchange'
  readonly destination: string
  readonly key: string
  readonly args: readonly (readonly [string, JsonValue])[]
}

/**
 * One change of what exists, as a record in the journal; a checkpoint holds the shortest list of changes
 * that leads to the same state. Plain JSON.
 */
export type Definition =
  | { readonly kind: 'vhost'; readonly vhost: string; readonly scheduleLine: number }
  | { readonly kind: 'vhost_deleted'; readonly vhost: string }
  | { readonly kind: 'queue'; readonly vhost: string; readonly queue: QueueDefinition; readonly firstLine: number }
  | { readonly kind: 'queue_deleted'; readonly vhost: string; readonly name: string }
  | { readonly kind: 'exchange'; readonly vhost: string; readonly exchange: ExchangeDefinition }
  | { readonly kind: 'exchange_deleted'; readonly vhost: string; readonly name: string }
  | { readonly kind: 'bound'; readonly vhost: string; readonly binding: BindingDefinition }
  | { readonly kind: 'unbound'; readonly vhost: string; readonly binding: BindingDefinition }
  | { readonly kind: 'access'; readonly change: AccessChange }
