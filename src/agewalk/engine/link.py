"""Kernels as programs: each is lowered by itself, and all that an entry reaches is optimised together, once.

numba gives every compiled function a library of its own, optimised and turned into machine code with all its callees in it. So a
kernel ten calls below an entry goes through LLVM some ten times, and the results but the last are for nobody: half of the
compiler's work. Here (`Program`, a pipeline for `numba.njit`) a kernel is typed and lowered as ever, but what comes of it is only
kept, as a `Part`. An entry (a kernel with a way in from Python) gets numba's usual library, and in it its own part and every part
below it, each once; LLVM then sees the whole of it before it decides what to merge into what.
"""

from typing import Any

import llvmlite.binding as _llvm
from numba.core import cgutils as _cgutils
from numba.core import codegen as _codegen
from numba.core import compiler as _compiler
from numba.core import compiler_machinery as _machinery
from numba.core import cpu as _cpu
from numba.core import typed_passes as _typed

# numba is annotated in part, and not for this use
llvm: Any = _llvm
cgutils: Any = _cgutils
codegen: Any = _codegen
compiler: Any = _compiler
machinery: Any = _machinery
cpu: Any = _cpu
typed: Any = _typed

#: Passes (by numba's names) for what no kernel has: closures, whole-array expressions, calls of `overload(inline=...)`. A kernel
#: that did have one would not compile.
UNUSED = {"inline_closure_likes", "nopython_rewrites", "inline_overloads"}


class Part(codegen.CodeLibrary):  # type: ignore[misc]
    """What a kernel was lowered to, and the libraries that it needs: other parts, or numba's own.

    It stands in for a library while numba lowers. environment: what numba sets in machine code made of it, (name, object).
    """

    def __init__(self, generator: Any, name: str) -> None:
        super().__init__(generator, name)
        self.needs: dict[Any, None] = {}  # in order
        self.environment: Any = None
        self._modules: list[Any] = []
        self._whole: Any = None

    def add_ir_module(self, ir_module: Any) -> None:
        self._modules.append(ir_module)

    def add_linking_library(self, library: Any) -> None:
        self.needs[library] = None

    def module(self) -> Any:
        """All of it, as LLVM has it; to be copied, not changed."""
        if self._whole is None:
            first, *others = (llvm.parse_assembly(cgutils.normalize_ir_text(str(m))) for m in self._modules)
            for other in others:
                first.link_in(other)
            self._whole, self._modules = first, []
        return self._whole

    def below(self) -> tuple[list["Part"], list[Any]]:
        """This part and all that it calls, however indirectly; and the libraries of numba's own that they need."""
        parts: dict[Part, None] = {self: None}
        libraries: dict[Any, None] = {}
        for part in (queue := [self]):
            for need in part.needs:
                if not isinstance(need, Part):
                    libraries[need] = None
                elif need not in parts:
                    parts[need] = None
                    queue.append(need)
        return list(parts), list(libraries)

    def finalize(self) -> None:
        raise RuntimeError(f"{self} is a part of others, without machine code of its own")

    def get_function(self, name: str) -> Any:
        return self.module().get_function(name)

    def get_llvm_str(self) -> str:
        return str(self.module())

    def get_asm_str(self) -> str:
        raise RuntimeError(f"{self} is a part of others, without machine code of its own")


def link(part: Part, generator: Any) -> Any:
    """A library of numba's usual kind with `part`, callable from outside, and everything below it, which is not.

    Nobody else can call that, so LLVM need not keep what it merged into all callers, and merges what has one caller, unless that
    is said to be rare (`cells.rarely`): else it would take registers from the loops of that caller.
    """
    parts, libraries = part.below()
    whole = part.module().clone()
    outside = {function.name for function in whole.functions if not function.is_declaration}
    for other in parts[1:]:
        whole.link_in(other.module(), preserve=True)
    for function in whole.functions:
        if not function.is_declaration and function.name not in outside:
            function.linkage = "internal"
    library = generator.create_library(part.name)
    library.enable_object_caching()
    library.add_llvm_module(whole)
    for needed in libraries:
        library.add_linking_library(needed)
    return library


@machinery.register_pass(mutates_CFG=False, analysis_only=False)
class Assemble(machinery.LoweringPass):  # type: ignore[misc]
    """After lowering into a Part: link an entry; register either kind for the kernels that will call it."""

    _name = "agewalk_assemble"

    def __init__(self) -> None:  # abstract above
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        part, lowered = state.library, state.cr
        target, kernel = state.targetctx, lowered.fndesc
        part.environment = target.get_env_name(kernel), lowered.env
        if state.flags.no_cpython_wrapper:
            way_in = _refusal(kernel.qualname)
        else:
            state.library = link(part, target.codegen())
            way_in = target.get_executable(state.library, kernel, lowered.env)
            for other in part.below()[0]:
                target.codegen().set_env(*other.environment)
        target.insert_user_function(way_in, kernel, [part])
        state.cr = lowered._replace(cfunc=way_in)
        return True


def _refusal(kernel: str) -> Any:
    """What numba calls if Python calls a kernel that has no way in. It has to be a builtin function, and one of its own for
    each kernel: this one raises a KeyError that says so."""
    return f"{{{kernel} is compiled for other kernels alone}}".format


class Program(compiler.CompilerBase):  # type: ignore[misc]
    """The pipeline for kernels and entries."""

    def define_pipelines(self) -> list[Any]:
        state = self.state
        state.library = Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True  # not by the lowering: `Assemble` does that
        passes = compiler.DefaultPassBuilder.define_nopython_pipeline(state)
        passes.passes = [one for one in passes.passes if one[0].name() not in UNUSED]
        passes.add_pass_after(Assemble, typed.NativeLowering)
        passes.finalize()
        return [passes]


def fits() -> bool:
    """Whether this numba has what stands above. If not, its own pipeline compiles the same, in twice the time."""
    used = {
        codegen.CPUCodeLibrary: ("add_llvm_module", "add_linking_library", "enable_object_caching"),
        codegen.JITCPUCodegen: ("create_library", "set_env"),
        cpu.CPUContext: ("get_executable", "get_env_name", "insert_user_function"),
        compiler.Flags: ("no_compile", "no_cpython_wrapper"),
        compiler.DefaultPassBuilder: ("define_nopython_pipeline",),
    }
    return not Part.__abstractmethods__ and all(hasattr(owner, name) for owner, names in used.items() for name in names)
