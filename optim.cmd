@echo off
rem Builds what is needed, and runs it, as ./optim does on Linux and macOS:
rem   optim test ...    the tests (properties\)
rem   optim bench ...   the comparison with other libraries (bench\)
rem   optim pack ...    the NuGet packages, into the folder named (obj\packages)
rem   optim docs ...    the site of the documents and the API reference, into the folder named (output\site)
rem   optim ...         the optim command (Optim.Cli\): train, inspect, ...
setlocal EnableExtensions DisableDelayedExpansion
set root=%~dp0
set DOTNET_NOLOGO=1
set DOTNET_CLI_TELEMETRY_OPTOUT=1
dotnet --version >nul 2>nul
if errorlevel 1 (
    echo optim: the .NET 10 SDK is needed: install it from https://dotnet.microsoft.com/download, or put its dotnet on the PATH. 1>&2
    exit /b 127
)

if "%~1"=="pack" goto pack
if "%~1"=="docs" goto docs

rem What follows the first word is passed on as it was written: taken apart into words it would lose every = and ,
set all=%*
set project=Optim.Cli
set torch=
if "%~1"=="test" (
    set project=properties
    set torch=1
)
if "%~1"=="bench" (
    set project=bench
    set torch=1
)
if "%project%"=="properties" set all=%all:~4%
if "%project%"=="bench" set all=%all:~5%
if not defined torch call :asks %*

rem Output of the build would stand in the program's own: it is shown when the build fails.
if not exist "%root%obj" mkdir "%root%obj"
dotnet build "%root%%project%" -c Release -nologo -clp:NoSummary > "%root%obj\build.log" 2>&1
if errorlevel 1 (
    type "%root%obj\build.log" 1>&2
    exit /b 1
)
if defined torch call :libtorch
if errorlevel 1 if not "%project%"=="properties" exit /b 1
dotnet run --no-build --project "%root%%project%" -c Release -- %all%
exit /b %errorlevel%

rem As CI builds them: the same sources give the same bytes.
:pack
set CI=true
set folder=%root%obj\packages
if not "%~2"=="" set folder=%~2
dotnet pack "%root%Optim.sln" -c Release -nologo -clp:NoSummary -v quiet --artifacts-path "%root%obj\artifacts" -o "%folder%"
exit /b %errorlevel%

rem The reference is made from the libraries and their documentation files.
:docs
set folder=%root%output\site
if not "%~2"=="" set folder=%~2
dotnet build "%root%Optim.sln" -c Release -nologo -clp:NoSummary -v quiet || exit /b 1
pushd "%root%"
dotnet tool restore > nul && dotnet docfx docs\docfx.json --output "%folder%" --warningsAsErrors
set code=%errorlevel%
popd
exit /b %code%

rem Whether the command asks for TorchSharp; --backend=torchsharp comes here as two words.
:asks
if "%~1"=="" exit /b
if "%~1"=="torchsharp" set torch=1
if "%~1"=="--backend:torchsharp" set torch=1
shift
goto asks

rem Fetches libtorch, once, and puts it and TorchSharp's native half, both in NuGet's package cache, where the loader looks.
:libtorch
set platform=win-x64
if /i "%PROCESSOR_ARCHITECTURE%"=="ARM64" set platform=win-arm64
set packages=%NUGET_PACKAGES%
if not defined packages set packages=%USERPROFILE%\.nuget\packages
call :version libtorch-cpu-linux-x64
set natives=%packages%\libtorch-cpu-%platform%\%version%\runtimes\%platform%\native
call :version TorchSharp
set sharp=%packages%\torchsharp\%version%\runtimes\%platform%\native
if not exist "%natives%" (
    echo optim: fetching libtorch, once 1>&2
    dotnet restore "%root%native" > "%root%obj\native.log" 2>&1
)
if not exist "%natives%" (
    echo optim: could not fetch libtorch: see obj\native.log. 1>&2
    exit /b 1
)
if defined OPTIM_LIBTORCH (
    if not exist "%OPTIM_LIBTORCH%" (
        echo optim: OPTIM_LIBTORCH is %OPTIM_LIBTORCH%, which is no folder. 1>&2
        exit /b 1
    )
    set natives=%OPTIM_LIBTORCH%
)
set PATH=%natives%;%sharp%;%PATH%
exit /b 0

rem The version of a package in paket.lock, whose other lines about it say what needs it: NAME (>= VERSION).
:version
for /f "usebackq tokens=1,2 delims=() " %%a in ("%root%paket.lock") do if "%%a"=="%~1" if not "%%b"==">=" set version=%%b
exit /b
