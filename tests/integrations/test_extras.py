"""Each adapter loads its own framework alone, and names the extra where that is missing."""

import subprocess
import sys

import pytest

ADAPTERS = {
    "langchain": "langchain_core",
    "llamaindex": "llama_index",
    "haystack": "haystack",
    "mcp": "mcp",
    "http": "fastapi",
}
EXTRAS = {"http": "serve"}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_imports_its_own_framework_alone_and_names_the_extra_that_is_missing(adapter):
    own = ADAPTERS[adapter]
    pytest.importorskip(own, reason=f"needs the framework of the adapter {adapter!r}")
    others = sorted({*ADAPTERS.values()} - {own})
    script = f"""
import sys
import hybrid_search.integrations.{adapter}
print([name for name in {others} if name in sys.modules])
for name in [name for name in sys.modules if name.startswith("hybrid_search.integrations.{adapter}")]:
    del sys.modules[name]
for name in [name for name in sys.modules if name.split(".")[0] == "{own}"]:
    sys.modules[name] = None
sys.modules["{own}"] = None
try:
    import hybrid_search.integrations.{adapter}
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "[]"
    assert f"pip install 'hybrid-search-qdrant[{EXTRAS.get(adapter, adapter)}]'" in done.stdout
