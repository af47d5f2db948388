/** Skips drawing when no property changed: for rows of long lists. */
import { Component, h, type ComponentType } from "preact";

/** Wraps a component; properties are compared one by one. */
export function memo<P extends object>(view: ComponentType<P>): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      const old = this.props as P;
      return (Object.keys(next) as (keyof P)[]).some((k) => next[k] !== old[k]);
    }
    override render() {
      return h(view, this.props as P);
    }
  };
}
