export interface RabbitmqNode {
  readonly url: string
  readonly port: number
  readonly dir: string
  readonly version: string
  stop(options?: { readonly keep?: boolean }): Promise<void>
  kill(options?: { readonly keep?: boolean }): Promise<void>
}

export function rabbitmqHome(): string | undefined
export function rabbitmqVersion(): string | undefined
export function startRabbitmq(options?: { readonly dir?: string; readonly port?: number }): Promise<RabbitmqNode>
