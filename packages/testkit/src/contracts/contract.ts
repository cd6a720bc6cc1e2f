/** One promise of an interface, and how to see that an implementation keeps it. Throws when it does not. */
export interface Promised<S> {
  readonly name: string
  run(subject: S): Promise<void>
}
