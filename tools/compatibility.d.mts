export interface Behaviour {
  readonly behaviour: string
  readonly origin: string
  readonly reason: string | undefined
}

export declare function behavioursOf(source: string): Behaviour[]
export declare function page(): string
