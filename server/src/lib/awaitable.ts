/** What may be there at once. To wait for it all the same costs a small request as much as its own work. */
export type Awaitable<T> = T | Promise<T>

/** Goes on at once where the value is there. */
export function whenThere<T, R>(value: Awaitable<T>, next: (value: T) => Awaitable<R>): Awaitable<R> {
  return value instanceof Promise ? value.then(next) : next(value)
}
